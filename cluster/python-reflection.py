#!/usr/bin/env python3
"""A gRPC client that knows nothing of iovmesh, not even its .proto files: asks the coordinator what it offers and calls it.

Usage: python-reflection.py ENDPOINT. Needs grpcio, grpcio-reflection and grpcio-health-checking.
"""
import sys

import grpc
from google.protobuf import message_factory
from google.protobuf.descriptor_pool import DescriptorPool
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase

endpoint = sys.argv[1]
ALPHA, CURRENT = "grpc.reflection.v1alpha", "grpc.reflection.v1"


def ask(channel, package, question):
    """One question to either version of reflection; the messages are the same in both."""
    call = channel.stream_stream(
        f"/{package}.ServerReflection/ServerReflectionInfo",
        request_serializer=reflection_pb2.ServerReflectionRequest.SerializeToString,
        response_deserializer=reflection_pb2.ServerReflectionResponse.FromString,
    )
    (answer,) = call(iter([question]), timeout=10)
    assert answer.original_request == question, answer
    return answer


def unary(channel, pool, service, method, **fields):
    """Calls a method by what the server itself says of it."""
    found = pool.FindServiceByName(service).FindMethodByName(method)
    call = channel.unary_unary(
        f"/{service}/{method}",
        request_serializer=lambda request: request.SerializeToString(),
        response_deserializer=message_factory.GetMessageClass(found.output_type).FromString,
    )
    return call(message_factory.GetMessageClass(found.input_type)(**fields), timeout=10)


def shape(message):
    """What of a message's declaration matters on the wire and in JSON."""
    fields = [
        (field.number, field.name, field.type, field.is_repeated, field.message_type and shape(field.message_type))
        for field in message.fields if field.message_type is not message
    ]
    return sorted(fields, key=lambda field: field[0])


def same_as_stock(pool, stock):
    """The server's description of a file against the one that the stock package was built from."""
    for name, message in stock.message_types_by_name.items():
        assert shape(pool.FindMessageTypeByName(message.full_name)) == shape(message), name
        for enum in message.enum_types:
            served = pool.FindEnumTypeByName(enum.full_name)
            assert [(v.name, v.number) for v in served.values] == [(v.name, v.number) for v in enum.values], enum.name
    for service in stock.services_by_name.values():
        served = pool.FindServiceByName(service.full_name)
        for method in service.methods:
            other = served.FindMethodByName(method.name)
            for of in (lambda m: m.input_type.full_name, lambda m: m.output_type.full_name,
                       lambda m: m.client_streaming, lambda m: m.server_streaming):
                assert of(other) == of(method), method.full_name


with grpc.insecure_channel(endpoint, options=[("grpc.default_authority", "localhost")]) as channel:
    database = ProtoReflectionDescriptorDatabase(channel)
    pool = DescriptorPool(database)
    services = list(database.get_services())
    assert services == sorted(services), services
    assert {"iov.v1.Claims", "iov.v1.Inventory", "grpc.health.v1.Health"} <= set(services), services
    listed = ask(channel, CURRENT, reflection_pb2.ServerReflectionRequest(list_services=""))
    assert [service.name for service in listed.list_services_response.service] == services, listed

    # Every service can be described to its last type, and the ones of gRPC are what gRPC says they are.
    for service in services:
        for method in pool.FindServiceByName(service).methods:
            message_factory.GetMessageClass(method.input_type)
            message_factory.GetMessageClass(method.output_type)
    same_as_stock(pool, health_pb2.DESCRIPTOR)
    same_as_stock(pool, reflection_pb2.DESCRIPTOR)

    cluster = unary(channel, pool, "iov.v1.Inventory", "GetCluster")
    assert cluster.id and cluster.epoch > 0, cluster
    unary(channel, pool, "iov.v1.Claims", "ListClaims")
    try:
        unary(channel, pool, "iov.v1.Claims", "GetClaim", name="no-such-claim")
    except grpc.RpcError as error:
        assert error.code() == grpc.StatusCode.NOT_FOUND, error
    else:
        sys.exit("a claim that nobody made was found")

    for package in ALPHA, CURRENT:
        for question in [
            reflection_pb2.ServerReflectionRequest(file_by_filename="no/such.proto"),
            reflection_pb2.ServerReflectionRequest(file_containing_symbol="iov.v1.NoSuchThing"),
            reflection_pb2.ServerReflectionRequest(
                file_containing_extension=reflection_pb2.ExtensionRequest(containing_type="iov.v1.Claim", extension_number=9)),
            reflection_pb2.ServerReflectionRequest(all_extension_numbers_of_type="iov.v1.NoSuchThing"),
        ]:
            error = ask(channel, package, question).error_response
            assert error.error_code == grpc.StatusCode.NOT_FOUND.value[0] and error.error_message, (package, question, error)

    health = health_pb2_grpc.HealthStub(channel)
    SERVING = health_pb2.HealthCheckResponse.SERVING
    for service in "", "iov.v1.Claims":
        assert health.Check(health_pb2.HealthCheckRequest(service=service), timeout=10).status == SERVING
    assert health.List(health_pb2.HealthListRequest(), timeout=10).statuses[""].status == SERVING
    watch = health.Watch(health_pb2.HealthCheckRequest(service="iov.v1.Claims"), timeout=30)
    assert next(watch).status == SERVING
    watch.cancel()
    watch = health.Watch(health_pb2.HealthCheckRequest(service="no.such.Service"), timeout=30)
    assert next(watch).status == health_pb2.HealthCheckResponse.SERVICE_UNKNOWN
    watch.cancel()
    try:
        health.Check(health_pb2.HealthCheckRequest(service="no.such.Service"), timeout=10)
    except grpc.RpcError as error:
        assert error.code() == grpc.StatusCode.NOT_FOUND, error
    else:
        sys.exit("the health of a service that is not there was told")
print(f"{len(services)} services found and called by grpcio {grpc.__version__} without .proto files")
