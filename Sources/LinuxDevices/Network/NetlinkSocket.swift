import CLinux
import Glibc
import Synchronization

/// One message that came back.
public struct NetlinkReply: Sendable {
  public var type: UInt16
  public var payload: ArraySlice<UInt8>

  public init(type: UInt16, payload: ArraySlice<UInt8>) {
    self.type = type
    self.payload = payload
  }
}

/// One message to send: the kernel's type and flags, and the body.
public struct NetlinkRequest: Sendable {
  public var type: UInt16
  public var flags: Int32
  public var payload: NetlinkPayload
  /// For people, in errors.
  public var operation: String

  public init(
    _ type: some BinaryInteger, flags: Int32 = 0, operation: String, _ body: (inout NetlinkPayload) -> Void
  ) {
    self.type = UInt16(type)
    self.flags = flags
    self.operation = operation
    var payload = NetlinkPayload()
    body(&payload)
    self.payload = payload
  }
}

/// A netlink socket in a given network namespace. Calls are synchronous and short; one at a time uses the socket.
public final class NetlinkSocket: Sendable {
  public enum Family: Sendable {
    case route, netfilter, generic
    /// What the kernel tells of devices, without being asked (lib/kobject_uevent.c).
    case kernelEvents

    fileprivate var number: Int32 {
      switch self {
      case .route: NETLINK_ROUTE
      case .netfilter: NETLINK_NETFILTER
      case .generic: NETLINK_GENERIC
      case .kernelEvents: NETLINK_KOBJECT_UEVENT
      }
    }
  }

  public let descriptor: CInt
  private let sequence = Mutex<UInt32>(0)

  public init(_ family: Family, in namespace: NetworkNamespace) throws {
    let number = family.number
    descriptor = try namespace.run {
      let descriptor = socket(AF_NETLINK, Int32(SOCK_RAW.rawValue) | Int32(SOCK_CLOEXEC.rawValue), number)
      guard descriptor >= 0 else { throw NetlinkError(errno: errno, operation: "open a netlink socket") }
      return descriptor
    }
    // A socket without an address of its own hears no events. Zero: the kernel chooses.
    var address = sockaddr_nl()
    address.nl_family = sa_family_t(AF_NETLINK)
    if family == .kernelEvents { address.nl_groups = 1 }
    let descriptor = descriptor
    let code = withUnsafePointer(to: &address) {
      $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
        bind(descriptor, $0, socklen_t(MemoryLayout<sockaddr_nl>.size))
      }
    }
    guard code == 0 else {
      let reason = errno
      close(descriptor)
      throw NetlinkError(errno: reason, operation: "bind a netlink socket")
    }
    var one: CInt = 1
    for option in [NETLINK_EXT_ACK, NETLINK_CAP_ACK] {
      // Kernels without them (before 4.12) only give poorer messages.
      _ = setsockopt(descriptor, SOL_NETLINK, option, &one, socklen_t(MemoryLayout<CInt>.size))
    }
  }

  deinit { close(descriptor) }

  /// Sends a request and waits until the kernel has carried it out.
  @discardableResult
  public func request(_ request: NetlinkRequest) throws(NetlinkError) -> [NetlinkReply] {
    try exchange([request], acknowledged: [true])[0].get()
  }

  /// Asks for a whole table. A table that changed meanwhile is asked for again.
  public func dump(_ request: NetlinkRequest) throws(NetlinkError) -> [NetlinkReply] {
    var request = request
    request.flags |= NLM_F_DUMP
    for _ in 0..<8 {
      do {
        return try exchange([request], acknowledged: [true])[0].get()
      } catch  where error.errno == EINTR {
        continue
      }
    }
    throw NetlinkError(errno: EINTR, operation: request.operation)
  }

  /// In one datagram: one system call.
  public func batch(_ requests: [NetlinkRequest]) throws(NetlinkError) -> [Result<[NetlinkReply], NetlinkError>] {
    try exchange(requests, acknowledged: requests.map { _ in true })
  }

  /// Requests whose `acknowledged` is false get an answer only when they fail (the frame of a netfilter batch).
  func exchange(
    _ requests: [NetlinkRequest], acknowledged: [Bool]
  ) throws(NetlinkError) -> [Result<[NetlinkReply], NetlinkError>] {
    let outcome = sequence.withLock { next in
      let pending = Exchange(requests, acknowledged: acknowledged, firstSequence: next &+ 1)
      next &+= UInt32(requests.count)
      return carryOut(pending, operation: requests[0].operation)
    }
    return try outcome.get()
  }

  private func carryOut(
    _ exchange: Exchange, operation: String
  ) -> Result<[Result<[NetlinkReply], NetlinkError>], NetlinkError> {
    var exchange = exchange
    do {
      try send(exchange.datagram, operation: operation)
      while !exchange.isComplete { exchange.receive(try receive(operation: operation)) }
      return .success(exchange.results)
    } catch {
      return .failure(error)
    }
  }

  private func send(_ bytes: [UInt8], operation: String) throws(NetlinkError) {
    var sent: Int
    repeat { sent = Glibc.send(descriptor, bytes, bytes.count, 0) } while sent < 0 && errno == EINTR
    guard sent == bytes.count else { throw NetlinkError(errno: sent < 0 ? errno : EMSGSIZE, operation: operation) }
  }

  /// One datagram, whatever its size.
  func receive(operation: String) throws(NetlinkError) -> [UInt8] {
    while true {
      // The size first: what one card says of 256 virtual functions is more than the 32 KiB that the kernel puts
      // into a dump's datagram otherwise, when it sees that there is room for them.
      let size = recv(descriptor, nil, 0, Int32(MSG_PEEK) | Int32(MSG_TRUNC))
      if size < 0 {
        if errno == EINTR { continue }
        throw NetlinkError(errno: errno, operation: operation)
      }
      var received = 0
      let datagram = [UInt8](unsafeUninitializedCapacity: max(size, 32 << 10)) { buffer, count in
        repeat { received = recv(descriptor, buffer.baseAddress, buffer.count, 0) } while received < 0 && errno == EINTR
        count = max(0, received)
      }
      guard received >= 0 else { throw NetlinkError(errno: errno, operation: operation) }
      return datagram
    }
  }
}

/// Whoever answers netlink requests: the kernel, or a test's.
public protocol NetlinkTransport: Sendable {
  /// Sends a request and waits until it has been carried out.
  @discardableResult
  func request(_ request: NetlinkRequest) throws(NetlinkError) -> [NetlinkReply]
  /// Asks for a whole table.
  func dump(_ request: NetlinkRequest) throws(NetlinkError) -> [NetlinkReply]
  /// Sends requests that are carried out in order. One result for each.
  func batch(_ requests: [NetlinkRequest]) throws(NetlinkError) -> [Result<[NetlinkReply], NetlinkError>]
}

extension NetlinkSocket: NetlinkTransport {}

extension NetlinkTransport {
  public func batch(_ requests: [NetlinkRequest]) throws(NetlinkError) -> [Result<[NetlinkReply], NetlinkError>] {
    requests.map { asked in Result { () throws(NetlinkError) in try request(asked) } }
  }

  /// Asks for a whole table; nil when there is no such table (EINVAL: not even what it would be part of).
  func dumpIfPresent(_ request: NetlinkRequest) throws(NetlinkError) -> [NetlinkReply]? {
    do {
      return try dump(request)
    } catch {
      if error.isAbsence || error.errno == EINVAL { return nil }
      throw error
    }
  }
}
