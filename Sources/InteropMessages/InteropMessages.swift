// The messages and services of proto/grpc/testing. All files but this one are generated.
@_exported import MeshRPC
@_exported import ProtobufRuntime
