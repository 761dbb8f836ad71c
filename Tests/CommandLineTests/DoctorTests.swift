import Agent
import Configuration
import FoundationEssentials
import Glibc
import LinuxDevices
import Services
import Testing

@testable import iov

@Suite struct DoctorTests {
  private struct Reason: Error, CustomStringConvertible { let description = "no such module" }

  @Test func aLackIsSaidWithWhatItCostsAndWhatToDo() {
    let good = Probe(name: "a", lacking: .fail, cost: "much", advice: "do it", attempt: { "works" })
    #expect(good.check() == .ok("a", "works"))
    #expect(good.check().lines == ["ok    a: works"])
    let bad = Probe(name: "b", lacking: .warn, cost: "much", advice: "do it", attempt: { throw Reason() })
    #expect(bad.check() == .warn("b", "no such module", cost: "much", advice: "do it"))
    #expect(bad.check().lines == ["warn  b: no such module", "      cost: much", "      to do: do it"])
  }

  @Test func onlyAFailureKeepsAHostOut() {
    let warning = Check.warn("b", "", cost: "", advice: "")
    #expect(!Diagnosis(checks: [.ok("a", ""), warning]).hasFailed)
    #expect(Diagnosis(checks: [warning, .fail("c", "", cost: "", advice: "")]).hasFailed)
  }

  @Test(arguments: [
    (-5.0, Check.Outcome.warn), (-0.5, .ok), (0, .ok), (1.5, .ok), (2.4, .ok), (2.6, .warn), (9e18, .warn),
  ])
  func aClockIsComparedOverTheTimeThatTheQuestionTook(offset: Double, outcome: Check.Outcome) {
    let check = CoordinatorChecks.clock(theirs: 1000 + offset, between: 1000, and: 1001.5)
    #expect(check.outcome == outcome)
  }

  @Test func aNameIsFreeOursOrAnothers() {
    var other = Host.connected("host-a")
    other.instanceId = "1"
    #expect(CoordinatorChecks.name("host-b", own: nil, among: [other]).outcome == .ok)
    #expect(CoordinatorChecks.name("host-a", own: "1", among: [other]).outcome == .ok)
    #expect(CoordinatorChecks.name("host-a", own: nil, among: [other]).outcome == .fail)
    #expect(CoordinatorChecks.name("host-a", own: "2", among: [other]).advice.contains("iov host forget host-a"))
  }

  // MARK: The machine

  @Test(.enabled(if: geteuid() == 0, "needs root"))
  func whatIsTriedIsGoneAfterwards() throws {
    let checks = KernelChecks(ethernet: .fail, disks: .fail).run()
    #expect(checks.map(\.name).contains("nf_tables"))
    #expect(checks.count == 12)
    let links = try RouteNetlink(in: .current()).links()
    #expect(!links.contains { $0.name.hasPrefix("iov-") })
    #expect(
      !LoopDevice.all().contains {
        SmallFile.text("/sys/block/\($0.path.dropFirst(5))/loop/backing_file")?.contains("iov-doctor-\(getpid())-")
          == true
      })
  }

  private func configuration(_ change: (inout AgentConfiguration) -> Void) -> AgentConfiguration {
    var configuration = AgentConfiguration(
      host: "host-z", coordinator: .unix(path: "/nowhere"), plugins: [], stateDirectory: "/var/lib/iov/host-z/x",
      runtimeDirectory: "/run/iov/host-z")
    change(&configuration)
    return configuration
  }

  private func outcomes(_ configuration: AgentConfiguration) -> [String: Check] {
    Dictionary(ConfigurationChecks(configuration: configuration).run().map { ($0.name, $0) }) { first, _ in first }
  }

  @Test func whatTheConfigurationAsksForIsLookedAt() {
    let bare = outcomes(configuration { _ in })
    #expect(bare["plugins"]?.outcome == .warn)
    #expect(bare["mediation address"]?.outcome == .warn)
    let wrong = outcomes(
      configuration { configuration in
        configuration.mediationAddress = "192.0.2.77"
        configuration.plugins = [
          PluginConfiguration(name: "e", executable: "/nowhere/e", configuration: "/nowhere/e.yaml")
        ]
        configuration.stateDirectory = "/dev/null/x"
        configuration.runtimeDirectory = "/dev/null/y"
      })
    for name in [
      "plugins", "mediation address", "UDP port 4789", "TCP ports for disks", "state directory", "runtime directory",
    ] {
      #expect(wrong[name]?.outcome == .fail, "\(name)")
    }
    #expect(wrong["mediation address"]?.found == "no interface carries 192.0.2.77")
    let local = outcomes(configuration { $0.mediationAddress = "127.0.0.1" })
    #expect(local["mediation address"]?.outcome == .ok)
    #expect(local["TCP ports for disks"]?.outcome == .ok)
  }

  @Test func whatForgetsAtARebootKeepsNoState() throws {
    try #require(access("/dev/shm", W_OK) == 0)
    let check = outcomes(configuration { $0.stateDirectory = "/dev/shm/none/x" })["state directory"]
    #expect(check?.found == "/dev/shm/none/x is on tmpfs, which forgets at a reboot")
    #expect(access("/dev/shm/none", F_OK) != 0)
  }

  // MARK: The command

  private struct Answer: Decodable {
    struct Entry: Decodable {
      var name: String
      var outcome: String
      var found: String
      var cost: String
      var advice: String
    }
    var checks: [Entry]
  }

  @Test func aCoordinatorIsAskedWhetherTheHostIsWelcome() async throws {
    let fake = try await FakeCoordinator { world in
      world.fillWithSample()
      world.hosts[0].instanceId = "another"
      world.clockError = .seconds(-30)
    }
    let file = fake.file("agent.yaml")
    try "host: host-a\ncoordinator: \(fake.endpoint)\nstateDirectory: \(fake.file("state"))\n".write(
      toFile: file, atomically: true, encoding: .utf8)
    let run = try await run(["doctor", "--config", file, "-o", "yaml"])
    #expect(run.code == 1)
    let checks = try Configuration.decode(Answer.self, from: run.output, named: "x").checks
    let byName = Dictionary(checks.map { ($0.name, $0) }) { first, _ in first }
    #expect(byName["coordinator"]?.outcome == "ok")
    #expect(byName["protocol"]?.outcome == "ok")
    #expect(byName["clock"]?.outcome == "warn")
    #expect(byName["clock"]?.found.contains("ahead of the coordinator's") == true)
    #expect(byName["host name"]?.outcome == "fail")
    #expect(byName["state directory"]?.outcome == "ok")
    #expect(!FileManager.default.fileExists(atPath: fake.file("state")))
  }

  @Test func aBrokenConfigurationIsAFinding() async throws {
    let run = try await run(["doctor", "--config", "/nowhere/agent.yaml"])
    #expect(run.code == 1)
    #expect(run.output.contains("fail  configuration: cannot open the configuration file /nowhere/agent.yaml"))
  }
}
