// Whoever serves or calls these services needs the mesh's types.
@_exported import MeshRPC
@_exported import ProtobufRuntime
