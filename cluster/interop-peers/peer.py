#!/usr/bin/env python3
"""gRPC's interoperability tests on grpcio: a server and a client that know nothing of iovmesh but its .proto files.

    peer.py DESCRIPTORS server [TLS]
    peer.py DESCRIPTORS client --server_port=PORT --test_case=CASE [TLS]

DESCRIPTORS is what `protoc --include_imports --descriptor_set_out` makes of proto/grpc/testing/test.proto. The server
prints the port it listens on. The client's exit status is 0 if the case passes, 77 if grpcio cannot test it.
TLS, always mutual, is --use_tls=true --ca_file=FILE --tls_cert_file=FILE --tls_key_file=FILE, and for the client
--server_host_override=NAME.
"""
import argparse
import concurrent.futures
import gc
import os
import pathlib
import sys
import threading
import time
import traceback

import grpc
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

INITIAL = "x-grpc-test-echo-initial"
TRAILING = "x-grpc-test-echo-trailing-bin"
NO_FLAGS = "grpcio does not show whether a message came compressed"
NO_CHOICE = "grpcio's client compresses all messages of a call or none"

arguments = argparse.ArgumentParser()
arguments.add_argument("descriptors")
arguments.add_argument("role", choices=["server", "client"])
arguments.add_argument("--server_host", default="127.0.0.1")
arguments.add_argument("--server_port", type=int)
arguments.add_argument("--test_case")
arguments.add_argument("--use_tls", default="false")
for flag in ["ca_file", "tls_cert_file", "tls_key_file", "server_host_override"]:
    arguments.add_argument("--" + flag)
arguments = arguments.parse_args()

# A call of grpcio 1.76 that the collector finds while its own thread holds the call's lock waits for that lock for ever. The
# interpreter collects once more when it ends, so that the client ends without it.
gc.disable()

pool = descriptor_pool.DescriptorPool()
with open(arguments.descriptors, "rb") as file:
    for description in descriptor_pb2.FileDescriptorSet.FromString(file.read()).file:
        pool.Add(description)


def message(name):
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("grpc.testing." + name))


Empty, Payload, BoolValue, EchoStatus = map(message, ["Empty", "Payload", "BoolValue", "EchoStatus"])
SimpleRequest, SimpleResponse = message("SimpleRequest"), message("SimpleResponse")
InputRequest, InputResponse = message("StreamingInputCallRequest"), message("StreamingInputCallResponse")
OutputRequest, OutputResponse = message("StreamingOutputCallRequest"), message("StreamingOutputCallResponse")
ResponseParameters = message("ResponseParameters")


def zeros(size):
    return Payload(body=bytes(size))


class Service:
    @staticmethod
    def echo_metadata(context):
        for name, value in context.invocation_metadata():
            if name == INITIAL:
                context.send_initial_metadata([(name, value)])
            if name == TRAILING:
                context.set_trailing_metadata([(name, value)])

    @staticmethod
    def echo_status(request, context):
        if not request.HasField("response_status"):
            return
        codes = {code.value[0]: code for code in grpc.StatusCode}
        context.abort(codes[request.response_status.code], request.response_status.message)

    def EmptyCall(self, request, context):
        self.echo_metadata(context)
        return Empty()

    def UnaryCall(self, request, context):
        if request.response_compressed.value:
            context.set_compression(grpc.Compression.Gzip)
        self.echo_metadata(context)
        self.echo_status(request, context)
        return SimpleResponse(payload=zeros(request.response_size))

    def StreamingOutputCall(self, request, context):
        if any(parameters.compressed.value for parameters in request.response_parameters):
            context.set_compression(grpc.Compression.Gzip)
        yield from self.respond(request, context)

    def respond(self, request, context):
        self.echo_status(request, context)
        for parameters in request.response_parameters:
            time.sleep(parameters.interval_us / 1e6)
            if parameters.HasField("compressed") and not parameters.compressed.value:
                context.disable_next_message_compression()
            yield OutputResponse(payload=zeros(parameters.size))

    def StreamingInputCall(self, requests, context):
        return InputResponse(aggregated_payload_size=sum(len(request.payload.body) for request in requests))

    def FullDuplexCall(self, requests, context):
        self.echo_metadata(context)
        for request in requests:
            yield from self.respond(request, context)

    def HalfDuplexCall(self, requests, context):
        for request in list(requests):
            yield from self.respond(request, context)


uses_tls = arguments.use_tls == "true"


def pem_files():
    paths = [arguments.ca_file, arguments.tls_cert_file, arguments.tls_key_file]
    return [pathlib.Path(path).read_bytes() for path in paths]


def connect():
    endpoint = f"{arguments.server_host}:{arguments.server_port}"
    # A channel is a connection of its own.
    options = [("grpc.use_local_subchannel_pool", 1)]
    if not uses_tls:
        return grpc.insecure_channel(endpoint, options)
    authorities, certificate, key = pem_files()
    credentials = grpc.ssl_channel_credentials(authorities, key, certificate)
    options.append(("grpc.ssl_target_name_override", arguments.server_host_override))
    return grpc.secure_channel(endpoint, credentials, options)


def serve():
    def handler(kind, request, response, function):
        return kind(function, request_deserializer=request.FromString, response_serializer=response.SerializeToString)

    service = Service()
    both = grpc.stream_stream_rpc_method_handler
    handlers = {
        "EmptyCall": handler(grpc.unary_unary_rpc_method_handler, Empty, Empty, service.EmptyCall),
        "UnaryCall": handler(grpc.unary_unary_rpc_method_handler, SimpleRequest, SimpleResponse, service.UnaryCall),
        "StreamingOutputCall": handler(
            grpc.unary_stream_rpc_method_handler, OutputRequest, OutputResponse, service.StreamingOutputCall
        ),
        "StreamingInputCall": handler(
            grpc.stream_unary_rpc_method_handler, InputRequest, InputResponse, service.StreamingInputCall
        ),
        "FullDuplexCall": handler(both, OutputRequest, OutputResponse, service.FullDuplexCall),
        "HalfDuplexCall": handler(both, OutputRequest, OutputResponse, service.HalfDuplexCall),
    }
    server = grpc.server(concurrent.futures.ThreadPoolExecutor(max_workers=16))
    server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler("grpc.testing.TestService", handlers)])
    if uses_tls:
        authorities, certificate, key = pem_files()
        credentials = grpc.ssl_server_credentials([(key, certificate)], authorities, require_client_auth=True)
        port = server.add_secure_port("127.0.0.1:0", credentials)
    else:
        port = server.add_insecure_port("127.0.0.1:0")
    print("listening on 127.0.0.1:%d" % port, flush=True)
    server.start()
    server.wait_for_termination()


class Cases:
    def __init__(self, channel):
        def stub(kind, name, request, response, service="TestService"):
            return kind(
                f"/grpc.testing.{service}/{name}",
                request_serializer=request.SerializeToString,
                response_deserializer=response.FromString,
            )

        self.empty = stub(channel.unary_unary, "EmptyCall", Empty, Empty)
        self.unary = stub(channel.unary_unary, "UnaryCall", SimpleRequest, SimpleResponse)
        self.output = stub(channel.unary_stream, "StreamingOutputCall", OutputRequest, OutputResponse)
        self.input = stub(channel.stream_unary, "StreamingInputCall", InputRequest, InputResponse)
        self.duplex = stub(channel.stream_stream, "FullDuplexCall", OutputRequest, OutputResponse)
        self.no_method = stub(channel.unary_unary, "UnimplementedCall", Empty, Empty)
        self.no_service = stub(channel.unary_unary, "UnimplementedCall", Empty, Empty, "UnimplementedService")

    @staticmethod
    def fails(code, call, details=None):
        try:
            call()
        except grpc.RpcError as error:
            assert error.code() == code, (error.code(), error.details())
            assert details is None or error.details() == details, repr(error.details())
        else:
            raise AssertionError("the call went well")

    @staticmethod
    def large(**settings):
        return SimpleRequest(response_size=314159, payload=zeros(271828), **settings)

    @staticmethod
    def asking(size, payload):
        return OutputRequest(response_parameters=[ResponseParameters(size=size)], payload=zeros(payload))

    def empty_unary(self):
        assert self.empty(Empty()) == Empty()

    def large_unary(self):
        assert self.unary(self.large()) == SimpleResponse(payload=zeros(314159))

    def client_streaming(self):
        requests = (InputRequest(payload=zeros(size)) for size in [27182, 8, 1828, 45904])
        assert self.input(requests).aggregated_payload_size == 74922

    def server_streaming(self):
        sizes = [31415, 9, 2653, 58979]
        request = OutputRequest(response_parameters=[ResponseParameters(size=size) for size in sizes])
        assert [len(response.payload.body) for response in self.output(request)] == sizes

    def ping_pong(self):
        turns = [(31415, 27182), (9, 8), (2653, 1828), (58979, 45904)]
        answered = threading.Semaphore(1)

        def requests():
            for size, payload in turns:
                answered.acquire()
                yield self.asking(size, payload)

        sizes = []
        for response in self.duplex(requests()):
            sizes.append(len(response.payload.body))
            answered.release()
        assert sizes == [size for size, _ in turns], sizes

    def empty_stream(self):
        assert list(self.duplex(iter([]))) == []

    def cancel_after_begin(self):
        pending = concurrent.futures.Future()
        call = self.input.future(iter(pending.result, None))
        call.cancel()
        assert call.cancelled() and call.code() == grpc.StatusCode.CANCELLED
        pending.set_result(None)

    def cancel_after_first_response(self):
        pending = concurrent.futures.Future()

        def requests():
            yield self.asking(31415, 27182)
            pending.result()

        call = self.duplex(requests())
        assert len(next(call).payload.body) == 31415
        call.cancel()
        self.fails(grpc.StatusCode.CANCELLED, lambda: next(call))
        pending.set_result(None)

    def timeout_on_sleeping_server(self):
        pending = concurrent.futures.Future()

        def requests():
            yield OutputRequest(payload=zeros(27182))
            pending.result()

        self.fails(grpc.StatusCode.DEADLINE_EXCEEDED, lambda: list(self.duplex(requests(), timeout=0.001)))
        pending.set_result(None)

    def custom_metadata(self):
        metadata = [(INITIAL, "test_initial_metadata_value"), (TRAILING, b"\xab\xab\xab")]
        response, call = self.unary.with_call(self.large(), metadata=metadata)
        assert metadata[0] in call.initial_metadata(), call.initial_metadata()
        assert metadata[1] in call.trailing_metadata(), call.trailing_metadata()
        call = self.duplex(iter([self.asking(314159, 271828)]), metadata=metadata)
        assert len(list(call)) == 1
        assert metadata[0] in call.initial_metadata(), call.initial_metadata()
        assert metadata[1] in call.trailing_metadata(), call.trailing_metadata()

    def status_code_and_message(self):
        status = EchoStatus(code=2, message="test status message")
        unknown = grpc.StatusCode.UNKNOWN
        self.fails(unknown, lambda: self.unary(SimpleRequest(response_status=status)), status.message)
        self.fails(unknown, lambda: list(self.duplex(iter([OutputRequest(response_status=status)]))), status.message)

    def special_status_message(self):
        text = "\t\ntest with whitespace\r\nand Unicode BMP \u263a and non-BMP \U0001f608\t\n"
        request = SimpleRequest(response_status=EchoStatus(code=2, message=text))
        self.fails(grpc.StatusCode.UNKNOWN, lambda: self.unary(request), text)

    def unimplemented_method(self):
        self.fails(grpc.StatusCode.UNIMPLEMENTED, lambda: self.no_method(Empty()))

    def unimplemented_service(self):
        self.fails(grpc.StatusCode.UNIMPLEMENTED, lambda: self.no_service(Empty()))

    def client_compressed_unary(self):
        compressed, plain = (self.large(expect_compressed=BoolValue(value=value)) for value in [True, False])
        self.fails(grpc.StatusCode.INVALID_ARGUMENT, lambda: self.unary(compressed))
        assert len(self.unary(compressed, compression=grpc.Compression.Gzip).payload.body) == 314159
        assert len(self.unary(plain).payload.body) == 314159

    def rpc_soak(self):
        for _ in range(10):
            self.large_unary()


UNSUPPORTED = {
    "server_compressed_unary": NO_FLAGS,
    "server_compressed_streaming": NO_FLAGS,
    "client_compressed_streaming": NO_CHOICE,
}


def run_case():
    case = arguments.test_case
    if case in UNSUPPORTED:
        print(UNSUPPORTED[case])
        sys.exit(77)
    if case == "channel_soak":
        for _ in range(10):
            with connect() as channel:
                Cases(channel).large_unary()
        return
    with connect() as channel:
        getattr(Cases(channel), case)()


def exit_status():
    try:
        run_case()
        return 0
    except SystemExit as end:
        return end.code
    except BaseException:
        traceback.print_exc()
        return 1


if arguments.role == "server":
    serve()
else:
    status = exit_status()
    sys.stdout.flush()
    os._exit(status)
