"""Many machines: stages run on the nodes of a Ray cluster, and DVC's remote carries their data.

driver.py     in the flow: connects, places every stage by its needs, takes the results in
node.py       in Ray's worker on a node: gives a stage a folder of its own and a child process
stage.py      that child: pulls what the stage reads, reproduces it, pushes what it made
adopting.py   a child of the flow: enters a result in the checkout without executing anything
handover.py   what they pass to each other
"""
