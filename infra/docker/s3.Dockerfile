# An S3 server on a folder, run by somebody who is not root: a new volume takes its owner from this folder.
FROM versity/versitygw:v1.8.0@sha256:30292fc2eeacc67a36993b01f7a7a5e3361a19cced0e80c1d71cfa2a4b0a2499
RUN mkdir /data && chown 10001:10001 /data
USER 10001:10001
