import CLinux
import Glibc

/// Tells when devices of the subsystems that matter here come, change or go, from a thread of its own.
///
/// A hint to look again and no more: between an event and whoever reads it, the device can have changed once more.
public final class DeviceWatch: Sendable {
  public enum Change: Sendable, Hashable {
    case event(DeviceEvent)
    /// More happened than anybody kept: look at everything again.
    case overrun
  }

  public static let subsystems: Set<String> = ["pci", "net", "iommu", "vfio", "vfio-dev"]

  /// At most `capacity` wait to be read; those beyond are dropped and told as one `overrun`, before the next event.
  public let changes: AsyncStream<Change>
  private let stopSignal: CInt

  /// Events of interfaces are those of `namespace`; of other devices, those of every namespace that the host's first user
  /// namespace owns (kernel 4.18).
  public init(
    in namespace: NetworkNamespace, subsystems: Set<String> = DeviceWatch.subsystems, capacity: Int = 1024
  ) throws {
    let socket = try NetlinkSocket(.kernelEvents, in: namespace)
    // Making 256 functions is some thousand events at once.
    var size: CInt = 4 << 20
    if setsockopt(socket.descriptor, SOL_SOCKET, SO_RCVBUFFORCE, &size, socklen_t(MemoryLayout<CInt>.size)) != 0 {
      // Without CAP_NET_ADMIN: as much as everybody may have.
      setsockopt(socket.descriptor, SOL_SOCKET, SO_RCVBUF, &size, socklen_t(MemoryLayout<CInt>.size))
    }
    // A pipe whose write end this value holds: when it closes, the thread's poll sees the hang-up.
    var ends: [CInt] = [-1, -1]
    guard iov_pipe(&ends) == 0 else { throw NetlinkError(errno: errno, operation: "make a pipe") }
    let threadSignal = FileDescriptor(owning: ends[0])
    stopSignal = ends[1]
    let (stream, continuation) = AsyncStream.makeStream(of: Change.self, bufferingPolicy: .bufferingOldest(capacity))
    changes = stream
    try OwnThread.start {
      Self.forward(socket, subsystems, until: threadSignal, to: continuation)
      continuation.finish()
    }
  }

  deinit { close(stopSignal) }

  private static func forward(
    _ socket: NetlinkSocket, _ subsystems: Set<String>, until signal: FileDescriptor,
    to continuation: AsyncStream<Change>.Continuation
  ) {
    var relay = Relay()
    var hasReader = true
    while hasReader {
      // An overrun that could not be told is tried again, also when nothing more happens.
      let patience: CInt = relay.owesOverrun ? 100 : -1
      var waits = [socket.descriptor, signal.number].map { pollfd(fd: $0, events: Int16(POLLIN), revents: 0) }
      guard poll(&waits, nfds_t(waits.count), patience) >= 0 || errno == EINTR else { return }
      guard waits[1].revents == 0 else { return }
      var change: Change?
      if waits[0].revents != 0 {
        do {
          let datagram = try socket.receiveFromKernel(operation: "watch devices")
          let event = datagram.flatMap { DeviceEvent($0) }
          change = event.flatMap { subsystems.contains($0.subsystem) ? .event($0) : nil }
        } catch  where error.errno == ENOBUFS {
          change = .overrun
        } catch {
          return
        }
      }
      relay.pass(change) {
        switch continuation.yield($0) {
        case .enqueued: return true
        case .terminated: hasReader = false
        default: break
        }
        return false
      }
    }
  }

  /// Remembers that something could not be told.
  struct Relay {
    private(set) var owesOverrun = false

    /// `tell` answers whether there was room. Whoever looks at everything again, after an overrun, sees what a later event
    /// is about: it is not told besides.
    mutating func pass(_ change: Change?, _ tell: (Change) -> Bool) {
      guard let change = owesOverrun ? .overrun : change else { return }
      owesOverrun = !tell(change)
    }
  }
}

extension NetlinkSocket {
  /// One datagram; nil when somebody else than the kernel sent it, as any process of the namespace may.
  fileprivate func receiveFromKernel(operation: String) throws(NetlinkError) -> [UInt8]? {
    var sender = sockaddr_nl()
    var length = socklen_t(MemoryLayout<sockaddr_nl>.size)
    var buffer = [UInt8](repeating: 0, count: 8192)
    let count = withUnsafeMutablePointer(to: &sender) {
      $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
        recvfrom(descriptor, &buffer, buffer.count, 0, $0, &length)
      }
    }
    guard count >= 0 else {
      if errno == EINTR { return nil }
      throw NetlinkError(errno: errno, operation: operation)
    }
    return sender.nl_pid == 0 ? Array(buffer[..<count]) : nil
  }
}
