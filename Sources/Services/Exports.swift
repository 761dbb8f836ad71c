// Whoever calls or serves a service needs its messages and the mesh's types.
@_exported import MeshRPC
@_exported import Messages
