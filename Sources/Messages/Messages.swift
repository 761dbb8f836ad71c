// The messages of proto/iov, as Swift values. All files but this one and WellKnownTypes.swift are generated.
@_exported import ProtobufRuntime
