import CLinux
import Glibc

/// Tells when interfaces of a namespace appear, change or go, from a thread of its own.
public final class LinkWatch: Sendable {
  /// One element for one or many changes: what changed is found by looking again.
  public let changes: AsyncStream<Void>
  private let stopSignal: CInt

  /// - Parameter andWhatItKnows: also in the namespaces that this one knows by an id, then or later.
  public init(in namespace: NetworkNamespace, andWhatItKnows isForAll: Bool = false) throws {
    let socket = try NetlinkSocket(.route, in: namespace)
    if isForAll {
      var yes: CInt = 1
      guard
        setsockopt(
          socket.descriptor, SOL_NETLINK, NETLINK_LISTEN_ALL_NSID, &yes, socklen_t(MemoryLayout<CInt>.size)) == 0
      else { throw NetlinkError(errno: errno, operation: "watch the namespaces that \(namespace.label) knows") }
    }
    var group = CInt(RTNLGRP_LINK.rawValue)
    let code = setsockopt(
      socket.descriptor, SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, &group, socklen_t(MemoryLayout<CInt>.size))
    guard code == 0 else { throw NetlinkError(errno: errno, operation: "watch the interfaces of \(namespace.label)") }
    // A pipe whose write end this value holds: when it closes, the thread's poll sees the hang-up.
    var ends: [CInt] = [-1, -1]
    guard iov_pipe(&ends) == 0 else { throw NetlinkError(errno: errno, operation: "make a pipe") }
    let threadSignal = ends[0]
    stopSignal = ends[1]
    let (stream, continuation) = AsyncStream.makeStream(of: Void.self, bufferingPolicy: .bufferingNewest(1))
    changes = stream
    do {
      try OwnThread.start {
        Self.forward(socket, until: threadSignal, to: continuation)
        close(threadSignal)
        continuation.finish()
      }
    } catch {
      // The write end goes with this value.
      close(threadSignal)
      throw error
    }
  }

  deinit {
    close(stopSignal)
  }

  private static func forward(
    _ socket: NetlinkSocket, until signal: CInt, to continuation: AsyncStream<Void>.Continuation
  ) {
    while true {
      var waits = [
        pollfd(fd: socket.descriptor, events: Int16(POLLIN), revents: 0),
        pollfd(fd: signal, events: Int16(POLLIN), revents: 0),
      ]
      guard poll(&waits, nfds_t(waits.count), -1) >= 0 || errno == EINTR else { return }
      guard waits[1].revents == 0 else { return }
      guard waits[0].revents != 0 else { continue }
      do {
        _ = try socket.receive(operation: "watch interfaces")
      } catch  where error.errno != ENOBUFS {
        return
      } catch {
        // Events were lost: a change like any other, as the reader looks again.
      }
      continuation.yield()
    }
  }
}
