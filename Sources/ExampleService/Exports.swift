// Whoever serves or calls the example needs the mesh's types.
@_exported import MeshRPC
@_exported import ProtobufRuntime
