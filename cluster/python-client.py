#!/usr/bin/env python3
"""A gRPC client that knows nothing of iovmesh but its .proto files: creates, watches and deletes a claim.

Usage: python-client.py PROTO-DIRECTORY ENDPOINT [CERTIFICATE-DIRECTORY]. Over TCP it shows the certificate that
`iov pki issue operator` put into the directory. Needs grpcio and grpcio-tools.
"""
import pathlib
import sys
import tempfile

import grpc
import grpc_tools
from grpc_tools import protoc

protos, endpoint, *directories = sys.argv[1:4]
stubs = tempfile.TemporaryDirectory()
files = sorted(str(path) for path in pathlib.Path(protos, "iov").rglob("*.proto"))
well_known = str(pathlib.Path(grpc_tools.__file__).parent / "_proto")
if protoc.main(["", f"-I{protos}", f"-I{well_known}", f"--python_out={stubs.name}", f"--grpc_python_out={stubs.name}", *files]):
    sys.exit("the stubs could not be generated")
sys.path.insert(0, stubs.name)

from iov.v1 import claims_pb2, claims_pb2_grpc, inventory_pb2, inventory_pb2_grpc, model_pb2  # noqa: E402


def connect():
    if not directories:
        return grpc.insecure_channel(endpoint, options=[("grpc.default_authority", "localhost")])
    authority, key, certificate = (
        pathlib.Path(directories[0], name).read_bytes() for name in ("ca.pem", "key.pem", "certificate.pem"))
    return grpc.secure_channel(endpoint, grpc.ssl_channel_credentials(authority, key, certificate))


with connect() as channel:
    inventory = inventory_pb2_grpc.InventoryStub(channel)
    hosts = inventory.ListHosts(inventory_pb2.ListHostsRequest(), timeout=10).hosts
    assert {"host-a", "host-b", "host-c"} <= {host.name for host in hosts}, hosts

    claims = claims_pb2_grpc.ClaimsStub(channel)
    specification = model_pb2.ClaimSpecification(
        device_class="ethernet",
        host="host-b",
        consumer=model_pb2.Consumer(host=model_pb2.HostConsumer(), interface_name="py0"),
        allowed_paths=[model_pb2.PATH_MEDIATED],
    )
    specification.attributes.ethernet.mtu.value = 1400
    created = claims.CreateClaim(claims_pb2.CreateClaimRequest(name="python", specification=specification), timeout=10)
    assert created.uid, created

    deleted = False
    phases = []
    for event in claims.WatchClaims(claims_pb2.WatchClaimsRequest(name="python"), timeout=30):
        phases.append((event.kind, event.claim.status.phase))
        if event.kind == claims_pb2.CLAIM_EVENT_KIND_GONE:
            break
        if event.claim.status.phase == model_pb2.CLAIM_PHASE_READY and not deleted:
            arrival = event.claim.status.assignment.arrival
            assert arrival.interface_name == "py0", arrival
            assert arrival.enforced.ethernet.mtu.value == 1400, arrival
            claims.DeleteClaim(claims_pb2.DeleteClaimRequest(name="python"), timeout=10)
            deleted = True
    assert deleted and phases[-1][0] == claims_pb2.CLAIM_EVENT_KIND_GONE, phases

    for request, code in [
        (claims_pb2.CreateClaimRequest(name="python", specification=model_pb2.ClaimSpecification(device_class="no such class", host="host-b")), grpc.StatusCode.INVALID_ARGUMENT),
        (claims_pb2.CreateClaimRequest(name="x" * 5_000_000), grpc.StatusCode.RESOURCE_EXHAUSTED),
    ]:
        try:
            claims.CreateClaim(request, timeout=10)
        except grpc.RpcError as error:
            assert error.code() == code, (error.code(), error.details())
            assert error.details(), error
        else:
            sys.exit(f"accepted: {str(request)[:200]}")
print("created, watched and deleted by grpcio", grpc.__version__)
