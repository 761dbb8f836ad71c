import CLinux
import Glibc
import LinuxDevices

/// The connection to a server, until the kernel gets it.
struct ServerConnection: Sendable {
  private static let timeoutSeconds: CInt = 10
  let socket: FileDescriptor

  enum Place: Sendable, Hashable {
    case host(address: String, port: UInt16)
    case socket(path: String)
  }

  init(to place: Place) throws {
    let number =
      switch place {
      case .host(let address, let port): iov_tcp_connect(address, port, Self.timeoutSeconds)
      case .socket(let path): iov_unix_connect(path, Self.timeoutSeconds * 1000)
      }
    guard number >= 0 else { throw SystemCallError("connect to \(place)", errno: -number) }
    socket = FileDescriptor(owning: number)
  }

  func negotiate(_ exportName: String, securedBy tls: TLSHandshake?) throws -> Export {
    var negotiation = Negotiation(exportName: exportName, isSecured: tls != nil)
    var step = negotiation.first
    while true {
      try send(step.send)
      switch step.then {
      case .receive(let count): step = try negotiation.received(receive(count))
      case .secure:
        try tls?.secure(socket.number)
        step = negotiation.secured()
      case .use(let export): return export
      }
    }
  }

  /// A request may take as long as it takes: limits may hold it back.
  func waitForEver() throws {
    let result = iov_set_timeouts(socket.number, 0)
    guard result == 0 else { throw SystemCallError("lift the time limit of a connection", errno: -result) }
  }

  private func send(_ bytes: [UInt8]) throws {
    var rest = bytes[...]
    while !rest.isEmpty {
      let count = rest.withUnsafeBytes { Glibc.send(socket.number, $0.baseAddress, $0.count, CInt(MSG_NOSIGNAL)) }
      if count < 0, errno == EINTR { continue }
      guard count > 0 else { throw Self.broken("sent", errno) }
      rest = rest.dropFirst(count)
    }
  }

  private func receive(_ count: Int) throws -> [UInt8] {
    var bytes = [UInt8](repeating: 0, count: count)
    var done = 0
    while done < count {
      let result = bytes.withUnsafeMutableBytes {
        recv(socket.number, $0.baseAddress?.advanced(by: done), count - done, 0)
      }
      if result < 0, errno == EINTR { continue }
      guard result > 0 else { throw Self.broken("received", result == 0 ? 0 : errno) }
      done += result
    }
    return bytes
  }

  /// A server that takes a certificate for none says so after the handshake, or just closes: no data comes, but an alert, which the
  /// kernel's TLS answers by EIO.
  private static func broken(_ what: String, _ error: CInt) -> NegotiationError {
    switch error {
    case 0, ECONNRESET, EPIPE:
      NegotiationError("the connection was non-properly terminated before anything was \(what)")
    case EIO: NegotiationError("a fatal alert came instead of what should have been \(what)")
    case EAGAIN: NegotiationError("nothing was \(what) for \(timeoutSeconds) s")
    default: NegotiationError("nothing was \(what): \(SystemCallError.reason(error))")
    }
  }
}
