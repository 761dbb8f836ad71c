import CLinux
import Glibc

/// Tells when a namespace that this one knows ends, and when a name below /run/netns comes or goes, from a thread of its own.
public final class NamespaceWatch: Sendable {
  public enum Change: Sendable, Hashable {
    /// One of those that this namespace knows by an id; what was in it went with it.
    case ended
    /// It came or went. A name is made as a file, and means a namespace a moment later, once that is mounted on it.
    case name(String)
  }

  public let changes: AsyncStream<Change>
  private let stopSignal: CInt

  public init(in namespace: NetworkNamespace) throws {
    let socket = try NetlinkSocket(.route, in: namespace)
    var group = CInt(RTNLGRP_NSID.rawValue)
    let code = setsockopt(
      socket.descriptor, SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, &group, socklen_t(MemoryLayout<CInt>.size))
    guard code == 0 else { throw NetlinkError(errno: errno, operation: "watch the namespaces of \(namespace.label)") }
    let names = try Self.watchNames()
    // A pipe whose write end this value holds: when it closes, the thread's poll sees the hang-up.
    var ends: [CInt] = [-1, -1]
    guard iov_pipe(&ends) == 0 else { throw NetlinkError(errno: errno, operation: "make a pipe") }
    let threadSignal = FileDescriptor(owning: ends[0])
    stopSignal = ends[1]
    let (stream, continuation) = AsyncStream.makeStream(of: Change.self)
    changes = stream
    try OwnThread.start {
      Self.forward(socket, names, until: threadSignal, to: continuation)
      continuation.finish()
    }
  }

  deinit { close(stopSignal) }

  private static func watchNames() throws -> FileDescriptor {
    mkdir(NetworkNamespace.directory, 0o755)
    let descriptor = inotify_init1(CInt(IN_CLOEXEC) | CInt(IN_NONBLOCK))
    guard descriptor >= 0 else { throw NetlinkError(errno: errno, operation: "watch \(NetworkNamespace.directory)") }
    let names = FileDescriptor(owning: descriptor)
    let events = UInt32(IN_CREATE | IN_DELETE | IN_MOVED_TO | IN_MOVED_FROM)
    guard inotify_add_watch(descriptor, NetworkNamespace.directory, events) >= 0 else {
      throw NetlinkError(errno: errno, operation: "watch \(NetworkNamespace.directory)")
    }
    return names
  }

  private static func forward(
    _ socket: NetlinkSocket, _ names: FileDescriptor, until signal: FileDescriptor,
    to continuation: AsyncStream<Change>.Continuation
  ) {
    while true {
      var waits = [socket.descriptor, names.number, signal.number].map {
        pollfd(fd: $0, events: Int16(POLLIN), revents: 0)
      }
      guard poll(&waits, nfds_t(waits.count), -1) >= 0 || errno == EINTR else { return }
      guard waits[2].revents == 0 else { return }
      if waits[0].revents != 0 {
        // Lost events are a change like any other, as the reader looks again.
        _ = try? socket.receive(operation: "watch namespaces")
        continuation.yield(.ended)
      }
      if waits[1].revents != 0 { for name in changedNames(names) { continuation.yield(.name(name)) } }
    }
  }

  private static func changedNames(_ names: FileDescriptor) -> Set<String> {
    var buffer = [UInt8](repeating: 0, count: 4096)
    let count = read(names.number, &buffer, buffer.count)
    var rest = buffer[..<Swift.max(0, count)]
    var found: Set<String> = []
    // struct inotify_event: descriptor, mask, cookie, length of the name, name.
    while let length = rest.integer(at: 12, as: UInt32.self).map(Int.init), rest.count >= 16 + length {
      found.insert(String(decoding: rest.dropFirst(16).prefix(length).prefix { $0 != 0 }, as: UTF8.self))
      rest = rest.dropFirst(16 + length)
    }
    return found
  }
}
