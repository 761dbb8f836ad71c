import CLinux
import Glibc
import Synchronization

@testable import LinuxDevices

/// Whether this process may make network namespaces and interfaces.
let canAdministerNetworks: Bool = (try? OwnThread.run { iov_new_network_namespace() == 0 }) ?? false

private let counter = Mutex(0)

/// A named network namespace that goes with this value.
final class TestNamespace: Sendable {
  let name: String
  let namespace: NetworkNamespace
  let route: RouteNetlink

  init(_ purpose: String = "t") throws {
    let number = counter.withLock { number in
      number += 1
      return number
    }
    name = "iovtest-\(getpid())-\(purpose)-\(number)"
    namespace = try NetworkNamespace.create(named: name)
    route = try RouteNetlink(in: namespace)
  }

  deinit { try? NetworkNamespace.remove(named: name) }

  func index(_ name: String) throws -> Int32 {
    guard let link = try route.link(named: name) else {
      throw NetlinkError(errno: ENODEV, operation: "find \(name) in \(self.name)")
    }
    return link.index
  }

  /// Both ends up; the other end is in `other`.
  func connect(_ name: String, to otherName: String, in other: TestNamespace, mtu: UInt32 = 1500) throws {
    try route.create(
      NewLink(.virtualEthernet(peerName: otherName, peerNamespace: other.namespace), name: name, mtu: mtu))
    try route.change(index(name), LinkChange { $0.isUp = true })
    try other.route.change(
      other.index(otherName),
      LinkChange {
        $0.isUp = true
        $0.mtu = mtu
      })
  }
}
