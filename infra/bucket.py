"""Make the bucket that MLflow and DVC keep their files in, where it is not there yet; for containers.

python -m infra.bucket NAME     server and key: AWS_…
"""

import sys


def make_bucket(name: str) -> bool:
    """Make a bucket; returns whether it was missing."""
    import boto3

    s3 = boto3.client("s3")
    if name in (bucket["Name"] for bucket in s3.list_buckets()["Buckets"]):
        return False
    s3.create_bucket(Bucket=name)
    return True


if __name__ == "__main__":
    make_bucket(sys.argv[1])
