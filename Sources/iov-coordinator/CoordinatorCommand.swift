import ArgumentParser
import Coordinator
import Glibc
import LinuxDevices
import Logging
import Services

@main
struct CoordinatorCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "iov-coordinator",
    abstract: "Decides who gets which function of which end node.",
    discussion: """
      Agents and the iov command reach it at the endpoints that its configuration names; what it decides is in its store \
      before anybody is answered. SIGTERM and SIGINT stop it.

      Over TCP everybody shows a certificate (iov pki); changed certificate files are used from the next connection on.

      A configuration:

        listen: ["unix:/run/iov-coordinator/coordinator.sock", "10.77.0.1:7100"]
        tls:
          certificate: /etc/iov/tls/certificate.pem
          key: /etc/iov/tls/key.pem
          trustRoots: /etc/iov/tls/ca.pem
        store:
          path: /var/lib/iov/coordinator.sqlite
        logLevel: info
      """,
    version: iovmeshVersion)

  @Option(help: ArgumentHelp("The configuration file (YAML).", valueName: "file"))
  var config: String

  @Flag(help: "Check the configuration file and the certificate, and do nothing else.")
  var check = false

  @Option(
    help: ArgumentHelp(
      "Put this backup in the place of the store, keep the former one beside it, and do nothing else. For a coordinator that "
        + "cannot start any more; a running one restores with 'iov restore'.",
      valueName: "backup"))
  var restore: String?

  func run() async throws {
    do {
      let configuration = try CoordinatorConfiguration.load(from: config)
      guard !check else {
        _ = try configuration.tls?.server()
        print("\(config): ok")
        return
      }
      if let restore {
        print(try OfflineRestore(store: configuration.store.path, backup: restore).run())
        return
      }
      try await serve(configuration)
    } catch {
      write("iov-coordinator: \(error)")
      throw ExitCode(1)
    }
  }

  private func serve(_ configuration: CoordinatorConfiguration) async throws {
    LoggingSystem.bootstrap(StreamLogHandler.standardError)
    var logger = Logger(label: "iov-coordinator")
    logger.logLevel = configuration.logLevel
    // A client that hangs up is an error of a write, not a reason to end.
    signal(SIGPIPE, SIG_IGN)
    let stop = try SignalWatch(SIGTERM, SIGINT)
    do {
      // Each agent and each client has a connection.
      try OpenFileLimit.raise()
    } catch {
      logger.warning("the limit of open files stays as it is", metadata: ["error": "\(error)"])
    }

    let service = CoordinatorService(configuration: configuration, logger: logger)
    try await withThrowingTaskGroup(of: Void.self) { group in
      group.addTask { try await service.run() }
      group.addTask { try await stop.wait() }
      defer { group.cancelAll() }
      try await group.next()
    }
  }

  private func write(_ line: String) {
    _ = (line + "\n").utf8.withContiguousStorageIfAvailable { Glibc.write(STDERR_FILENO, $0.baseAddress, $0.count) }
  }
}
