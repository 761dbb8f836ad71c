import Configuration
import Glibc
import LinuxDevices
import Reconciliation
import Testing

@testable import Agent

@Suite struct TheStateDirectory {
  @Test func isOneAgentsAlone() throws {
    let stage = try Stage()
    let first = try StateDirectory(stage.state)
    #expect { try StateDirectory(stage.state) } throws: { error in
      "\(error)".contains("another agent (process \(getpid())) uses this state directory")
    }
    withExtendedLifetime(first) {}
  }

  @Test func keepsWhoTheHostIsAndWhomItObeyed() throws {
    let stage = try Stage()
    let instance = try { () throws -> String in
      let state = try StateDirectory(stage.state)
      try state.save {
        $0.highestEpoch = 12
        $0.clusterID = "c"
      }
      return state.instanceID
    }()
    let again = try StateDirectory(stage.state)
    #expect(again.instanceID == instance)
    #expect(again.current == StateDirectory.Allegiance(clusterID: "c", highestEpoch: 12))
  }

  @Test func thatIsDamagedIsNotTakenForANewOne() throws {
    let stage = try Stage()
    try SmallFile.makeDirectory(stage.state)
    try SmallFile.replace(stage.state + "/instance-id", with: Array("rubbish\n".utf8))
    #expect { try StateDirectory(stage.state) } throws: { "\($0)".contains("holds no UUID") }
    try SmallFile.remove(stage.state + "/instance-id")
    try SmallFile.replace(stage.state + "/coordinator", with: Array("epoch many\n".utf8))
    #expect { try StateDirectory(stage.state) } throws: { "\($0)".contains("is damaged at 'epoch many'") }
  }
}

@Suite struct TheLease {
  private func instant(_ milliseconds: Int64) -> Instant { Instant(nanoseconds: milliseconds * 1_000_000) }

  @Test func countsFromTheSendOfTheAnsweredHeartbeat() {
    var lease = LeaseClock(term: .seconds(10), helloAt: instant(0))
    let first = lease.beat(at: instant(3000))
    let second = lease.beat(at: instant(6000))
    lease.acknowledge(first)
    #expect(lease.goodUntil == instant(13_000))
    lease.acknowledge(second)
    #expect(lease.goodUntil == instant(16_000))
    #expect(!lease.hasExpired(at: instant(15_999)))
    #expect(lease.hasExpired(at: instant(16_000)))
  }

  @Test func isNotRenewedByAnswersToNothing() {
    var lease = LeaseClock(term: .seconds(10), helloAt: instant(0))
    lease.acknowledge(99)
    let beat = lease.beat(at: instant(1000))
    lease.acknowledge(beat)
    lease.acknowledge(beat)
    #expect(lease.goodUntil == instant(11_000))
  }
}

@Suite struct TheConfiguration {
  private func load(_ text: String) throws -> AgentConfiguration {
    try Configuration.decode(AgentConfiguration.self, from: text, named: "agent.yaml")
  }

  @Test func hasDefaultsNamedAfterTheHost() throws {
    let configuration = try load("host: host-a\ncoordinator: 127.0.0.1:7100\n")
    #expect(configuration.stateDirectory == "/var/lib/iov/host-a")
    #expect(configuration.runtimeDirectory == "/run/iov/host-a")
    #expect(configuration.plugins.isEmpty)
  }

  @Test func namesPluginsAfterTheirExecutables() throws {
    let configuration = try load(
      """
      host: host-a
      coordinator: unix:/run/iov/coordinator.sock
      labels: {rack: r1}
      mediation:
        address: 10.78.0.2
      plugins:
        - executable: /usr/libexec/iov-plugin-ethernet
          configuration: /etc/iov/ethernet.yaml
      """)
    #expect(configuration.plugins.map(\.name) == ["iov-plugin-ethernet"])
    #expect(configuration.mediationAddress == "10.78.0.2")
    #expect(configuration.labels == ["rack": "r1"])
  }

  @Test(arguments: [
    ("host: Host A\ncoordinator: a:1\n", "host is 'Host A'"),
    ("host: a\ncoordinator: nonsense\n", "'nonsense' is not HOST:PORT"),
    ("host: a\ncoordinator: b:1\nmediation: {address: here}\n", "which is no IP address"),
    ("host: a\ncoordinator: b:1\nlogLevel: loud\n", "logLevel is 'loud'"),
    ("host: a\ncoordinator: b:1\nplugin: []\n", "unknown key 'plugin'; did you mean 'plugins'?"),
    ("host: a\ncoordinator: b:1\nplugins: [{executable: p, configuration: c}]\n", "give its whole path"),
    (
      "host: a\ncoordinator: b:1\nplugins: [{executable: /p, configuration: c}, {executable: /q/p, configuration: c}]\n",
      "two plugins are called 'p'"
    ),
  ])
  func saysWhatIsWrong(text: String, complaint: String) {
    #expect { try load(text) } throws: { "\($0)".contains(complaint) }
  }

  @Test func isCheckedAgainstWhatIsThere() throws {
    let stage = try Stage()
    var configuration = stage.configuration([stage.plugin()])
    #expect(configuration.problems().isEmpty)
    configuration.plugins[0].executable = "/nowhere"
    configuration.plugins[0].configuration = "/nowhere.yaml"
    #expect(configuration.problems().count == 2)
  }
}
