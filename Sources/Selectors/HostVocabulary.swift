import Messages

extension Vocabulary<Host> {
  /// What can be said of hosts.
  public static var hosts: Self {
    Self(
      subjects: "hosts", labels: \.labels,
      [
        .text("name", "what it is called in the cluster") { $0.name },
        .list("classes", "the device classes that it has a serving plugin for") { host in
          host.plugins.filter { $0.state == .serving }.map(\.deviceClass)
        },
        .text("mediation_address", "the IP address by which it takes and serves functions over the network") {
          $0.mediationAddress
        },
        .quantity("mediation_mtu", "what the interface with that address carries", as: .bytes) {
          UInt64($0.mediationMtu)
        },
        .text("agent_version", "its agent's version; 0.9 is before 0.10") { $0.agentVersion },
        .bool("watchdog", "whether an armed watchdog resets it when its lease has run out") {
          $0.watchdogMilliseconds > 0
        },
        .word("state", ["connected", "disconnected", "dead"], "whether its agent is there", changesWithUse: true) {
          switch $0.state {
          case .connected: "connected"
          case .dead: "dead"
          case .disconnected, .unspecified, .unrecognized: "disconnected"
          }
        },
      ])
  }
}
