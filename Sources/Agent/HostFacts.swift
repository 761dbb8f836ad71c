import Glibc
import LinuxDevices
import Reconciliation
import Services

/// The clock of leases and retries: it runs on while the machine is suspended (CLOCK_BOOTTIME, clock_gettime(2)).
package enum HostClock {
  @Sendable package static func now() -> Instant {
    var time = timespec()
    // Fails for a clock that the kernel does not have alone, and this one is older than what the agent needs.
    clock_gettime(CLOCK_BOOTTIME, &time)
    return Instant(nanoseconds: Int64(time.tv_sec) * 1_000_000_000 + Int64(time.tv_nsec))
  }
}

/// What the agent says of its host.
package struct HostFacts: Sendable {
  var name: String
  var instanceID: String
  var bootID: String
  var labels: [String: String]
  var mediationAddress: String?

  package init(
    name: String, instanceID: String, bootID: String, labels: [String: String] = [:], mediationAddress: String? = nil
  ) {
    self.name = name
    self.instanceID = instanceID
    self.bootID = bootID
    self.labels = labels
    self.mediationAddress = mediationAddress
  }

  /// The host as it is now. Without an interface that carries the mediation address there is no mediated path, until
  /// there is one. Blocks on the kernel shortly.
  func host(plugins: [Plugin]) -> Host {
    let mtu = mediationMTU()
    return Host {
      $0.name = name
      $0.instanceId = instanceID
      $0.bootId = bootID
      $0.labels = labels
      $0.plugins = plugins
      $0.agentVersion = iovmeshVersion
      guard let mtu, let mediationAddress else { return }
      $0.mediationAddress = mediationAddress
      $0.mediationMtu = mtu
    }
  }

  /// Bytes; nil if no interface carries the address.
  func mediationMTU() -> UInt32? {
    guard let address = mediationAddress.flatMap(IPAddress.init),
      let netlink = try? RouteNetlink(in: .current()),
      let index = try? netlink.interfaceIndex(carrying: address)
    else { return nil }
    return (try? netlink.link(index: index))?.mtu
  }
}
