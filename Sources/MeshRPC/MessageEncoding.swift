import HTTP2Session

/// How a message's bytes stand on the wire. Source: the gRPC project's compression document.
public enum MessageEncoding: Sendable, Hashable {
  /// As they are.
  case identity
  /// Compressed, each message by itself (RFC 1952).
  case gzip

  /// The name in `grpc-encoding`.
  var name: String {
    switch self {
    case .identity: "identity"
    case .gzip: "gzip"
    }
  }

  /// nil if the name is not known here.
  init?(name: String) {
    switch name {
    case "identity": self = .identity
    case "gzip": self = .gzip
    default: return nil
    }
  }

  /// All that are known here, for `grpc-accept-encoding`.
  static let accepted = "identity,gzip"
}

extension UnsafeRawBufferPointer {
  /// Whether a list in `grpc-accept-encoding` names gzip.
  var namesGzip: Bool {
    split(separator: UInt8(ascii: ",")).contains { name in
      let first = name.firstIndex { $0 != UInt8(ascii: " ") } ?? name.endIndex
      let last = name.lastIndex { $0 != UInt8(ascii: " ") } ?? first
      return first < name.endIndex && UnsafeRawBufferPointer(rebasing: name[first...last]).equals("gzip")
    }
  }
}

extension RPCError {
  static let unagreedEncoding = RPCError(
    .internalError, "a message is compressed, and the headers name no encoding to read it by")
}
