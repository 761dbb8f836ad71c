// What is generated here are values of `FileDescriptor`: one for each file of proto/, linked only where a server offers
// reflection.
@_exported import MeshServices
