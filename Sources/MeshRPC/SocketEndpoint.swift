/// Where a server listens or a client connects.
public enum SocketEndpoint: Sendable, Hashable, CustomStringConvertible {
  case tcp(host: String, port: Int)
  case unix(path: String)

  /// `127.0.0.1:7100`, `[::1]:7100`, `name:7100` or `unix:/run/x.sock`.
  public init(parsing text: String) throws(RPCError) {
    if text.hasPrefix("unix:") {
      let path = String(text.dropFirst(5))
      // sun_path holds 108 bytes, the last one a NUL (unix(7)).
      guard !path.isEmpty, path.utf8.count <= 107 else {
        throw RPCError(.invalidArgument, "'\(text)': the path of a Unix socket has 1 to 107 bytes")
      }
      self = .unix(path: path)
      return
    }
    guard let colon = text.lastIndex(of: ":"), let port = UInt16(text[text.index(after: colon)...]) else {
      throw RPCError(.invalidArgument, "'\(text)' is not HOST:PORT, [IPv6]:PORT or unix:PATH")
    }
    var host = text[..<colon]
    if host.hasPrefix("["), host.hasSuffix("]") {
      host = host.dropFirst().dropLast()
    } else if host.contains(":") {
      throw RPCError(.invalidArgument, "'\(text)': an IPv6 address stands in brackets, [::1]:7100")
    }
    guard !host.isEmpty else { throw RPCError(.invalidArgument, "'\(text)' names no host") }
    self = .tcp(host: String(host), port: Int(port))
  }

  public var description: String {
    switch self {
    case .tcp(let host, let port): host.contains(":") ? "[\(host)]:\(port)" : "\(host):\(port)"
    case .unix(let path): "unix:\(path)"
    }
  }

  /// The `:authority` of calls to it.
  var authority: String {
    switch self {
    case .tcp: description
    case .unix: "localhost"
    }
  }
}
