import Agent
import ArgumentParser
import Configuration
import Glibc
import LinuxDevices
import Logging
import Services

@main
struct AgentCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "iov-agent",
    abstract: "Brings one host's functions to what the coordinator wants.",
    discussion: """
      It starts the plugins that its configuration names, one per device class, starts them again when they end, and keeps \
      a session with the coordinator. SIGTERM and SIGINT stop it; functions in use stay as they are, also while the \
      coordinator is away. SIGHUP starts those plugins anew whose executable or configuration file has changed. Changed certificate \
      files are used from the next session on.

      A configuration:

        host: host-a
        coordinator: 10.77.0.1:7100
        tls:
          certificate: /etc/iov/tls/certificate.pem
          key: /etc/iov/tls/key.pem
          trustRoots: /etc/iov/tls/ca.pem
        mediation:
          address: 10.78.0.2
        plugins:
          - executable: /usr/libexec/iov/iov-plugin-ethernet
            configuration: /etc/iov/ethernet.yaml

      Where there is `tls`, disks go between hosts over TLS alone, and the certificate needs the mediation address. More keys: \
      mediation.certificateSubject (what hosts' certificates of an authority of your own are like: C=DE,O=Example,CN={host}), labels, stateDirectory (default /var/lib/iov/HOST), runtimeDirectory (default /run/iov/HOST), logLevel; \
      of a plugin: name, arguments, deviceClass.
      """,
    version: iovmeshVersion)

  @Option(help: ArgumentHelp("The configuration file (YAML).", valueName: "file"))
  var config: String

  @Flag(help: "Check the configuration file, and that what it names is there, and do nothing else.")
  var check = false

  @Flag(help: "Print what was wanted of this host and every step that was taken, and do nothing else.")
  var journal = false

  func run() async throws {
    do {
      let configuration = try AgentConfiguration.load(from: config)
      if check {
        try report(configuration.problems())
      } else if journal {
        try Agent.printJournal(of: configuration) { print($0) }
      } else {
        try await serve(configuration)
      }
    } catch let code as ExitCode {
      throw code
    } catch {
      write("iov-agent: \(error)")
      throw ExitCode(1)
    }
  }

  private func report(_ problems: [String]) throws {
    guard problems.isEmpty else {
      for problem in problems { write("\(config): \(problem)") }
      throw ExitCode(1)
    }
    print("\(config): ok")
  }

  private func serve(_ configuration: AgentConfiguration) async throws {
    LoggingSystem.bootstrap(StreamLogHandler.standardError)
    var logger = Logger(label: "iov-agent")
    logger.logLevel = configuration.logLevel
    // A peer that hangs up is an error of a write, not a reason to end.
    signal(SIGPIPE, SIG_IGN)
    let stop = try SignalWatch(SIGTERM, SIGINT)
    let restart = try SignalWatch(SIGHUP)
    let agent = try Agent(configuration: configuration, logger: logger)
    try await withThrowingTaskGroup(of: Void.self) { group in
      group.addTask { try await agent.run() }
      group.addTask { try await stop.wait() }
      group.addTask {
        while true {
          try await restart.wait()
          await agent.restartChangedPlugins()
        }
      }
      try await group.next()
      group.cancelAll()
      // The plugins' processes end before this one does.
      try? await group.waitForAll()
    }
  }

  private func write(_ line: String) {
    _ = (line + "\n").utf8.withContiguousStorageIfAvailable { Glibc.write(STDERR_FILENO, $0.baseAddress, $0.count) }
  }
}
