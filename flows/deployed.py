"""The flows as deployments load them (prefect.yaml). Importing this costs Prefect's 2 s, which the command lines save
while there is nothing to do; a worker has spent them already.
"""

from flows.monitoring import monitoring_flow
from flows.retention import retention_flow
from flows.scoring import scoring_flow
from flows.training import training_flow

training = training_flow()
scoring = scoring_flow()
monitoring = monitoring_flow()
retention = retention_flow()
