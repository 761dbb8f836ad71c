import Agent
import ArgumentParser
import ClusterSecurity
import Configuration
import Glibc
import LinuxDevices
import MeshTLS
import Services

struct DoctorCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "doctor",
    abstract: "Check this host before it joins: what works, what each lack costs, and what to do.",
    discussion: """
      Kernel features are tried for real, in a network namespace that goes when the checks are over, and on a file of \
      its own in /var/tmp; what is in use on this host is not touched. A feature that is a module may get loaded.

      With the agent's configuration, also what that asks of this host: plugins, mediation address and MTU, ports, \
      directories, and whether the coordinator would take the host.

      Exit code 0: nothing fails, there may be warnings; 1: something fails.
      """)

  @Option(help: ArgumentHelp("The agent's configuration file.", valueName: "file"), completion: .file()) var config:
    String?
  @OptionGroup var common: CommonOptions

  func run() async throws {
    let diagnosis = Diagnosis(checks: try await checks())
    common.output.show(diagnosis) {
      for line in diagnosis.lines { print(line) }
    }
    guard !diagnosis.hasFailed else { throw ExitCode.refused }
  }

  private func checks() async throws -> [Check] {
    let loaded = config.map(Self.load)
    let configuration = try? loaded?.get()
    let needs = Needs(configuration)
    var checks = try await BlockingThread.detached {
      KernelChecks(ethernet: needs.ethernet, disks: needs.disks).run() + ProgramChecks(disks: needs.disks).run()
        + (configuration.map { ConfigurationChecks(configuration: $0).run() } ?? [])
    }
    if case .failure(let error) = loaded {
      checks.append(
        .fail(
          "configuration", error.description, cost: "the agent does not start, and what it asks for was not checked",
          advice: "correct the file"))
    }
    return checks + (await coordinatorChecks(configuration))
  }

  private static func load(_ path: String) -> Result<AgentConfiguration, ConfigurationError> {
    Result { () throws(ConfigurationError) in try AgentConfiguration.load(from: path) }
  }

  private func coordinatorChecks(_ configuration: AgentConfiguration?) async -> [Check] {
    let isNamed = common.connection.coordinator != nil || getenv("IOV_COORDINATOR") != nil
    guard isNamed || configuration != nil else {
      return [
        .warn(
          "coordinator", "not checked", cost: "whether this host can join is not known",
          advice: "name it with --coordinator, or the agent's configuration with --config")
      ]
    }
    do {
      let named = common.connection.coordinator == nil ? configuration?.coordinator : nil
      let endpoint = try named ?? common.connection.endpoint()
      let coordinator = Coordinator(
        endpoint, security: try security(for: endpoint, configuration),
        patience: Patience(seconds: common.connection.connectTimeout))
      let checks = await CoordinatorChecks(coordinator: coordinator, configuration: configuration).run()
      await coordinator.channel.close()
      return checks
    } catch {
      return [.fail("coordinator", "\(error)", cost: "this host cannot join", advice: "correct --coordinator")]
    }
  }

  /// As the agent would connect, unless the command line says otherwise.
  private func security(for endpoint: SocketEndpoint, _ configuration: AgentConfiguration?) throws -> ClientTLS? {
    guard common.connection.tls == nil, let configuration, case .tcp = endpoint else {
      return try common.connection.security(for: endpoint)
    }
    return try configuration.tls?.client().security
  }

  /// A lack fails where a plugin needs it; without a configuration all that there are may come.
  private struct Needs {
    var ethernet = Check.Outcome.fail
    var disks = Check.Outcome.fail

    init(_ configuration: AgentConfiguration?) {
      guard let configuration else { return }
      func serves(_ word: String) -> Bool {
        configuration.plugins.contains { ($0.deviceClass ?? $0.executable).contains(word) }
      }
      if !serves("ethernet") { ethernet = .warn }
      if !serves("sata") { disks = .warn }
    }
  }
}
