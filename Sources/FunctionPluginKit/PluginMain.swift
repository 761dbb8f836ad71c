import CLinux
import Configuration
import Glibc
import LinuxDevices
import Logging
import MeshServices
import Services

/// A plugin's program:
///
/// ```swift
/// @main struct Program {
///   static func main() async { await PluginMain<MyPlugin>.run() }
/// }
/// ```
///
/// Exit codes: 0 when the agent is gone, 64 for a wrong command line, 78 for a wrong configuration, 1 otherwise.
public enum PluginMain<Plugin: FunctionPlugin> {
  public static func run(arguments: [String] = Array(CommandLine.arguments.dropFirst())) async {
    switch arguments {
    case ["--version"]: return print(Plugin.version)
    case ["--schema"]: return print(Plugin.configurationSchema)
    case ["--help"], ["-h"]: return print(PluginArguments.usage)
    default: break
    }
    do {
      try await serve(try PluginArguments(parsing: arguments))
    } catch let error as UsageError {
      complain("\(error)\n\(PluginArguments.usage)", exitCode: 64)
    } catch let error as ConfigurationError {
      complain("\(error)", exitCode: 78)
    } catch {
      complain("\(error)", exitCode: 1)
    }
  }

  private static func serve(_ arguments: PluginArguments) async throws {
    // A peer that goes away is an error of a write, not a reason to die.
    signal(SIGPIPE, SIG_IGN)
    if let pipe = arguments.parentPipe {
      iov_set_close_on_exec(pipe)
      endWithParent(pipe)
    }
    if case .descriptor(let number) = arguments.socket { iov_set_close_on_exec(number) }
    let configuration = try Configuration.load(Plugin.PluginConfiguration.self, from: arguments.configuration)
    let service = PluginService<Plugin>(
      configuration: configuration, stateDirectory: arguments.stateDirectory,
      runtimeDirectory: arguments.runtimeDirectory, tls: arguments.tls,
      ledger: try DurableLedger(directory: arguments.stateDirectory),
      logger: makeLogger())
    let health = HealthBoard(of: [service])
    let server = RPCServer(services: [service, HealthFrontend(health)])
    switch arguments.socket {
    case .descriptor(let number): try await server.serve(listeningSocket: number)
    case .path(let path): _ = try await server.bind(.unix(path: path))
    }
    health.setAll(.serving)
    try await server.run()
  }

  /// The agent holds the pipe's other end. When it is gone nobody asks this process anything any more, and the next
  /// plugin process needs the state directory. What is in use outlives both.
  private static func endWithParent(_ pipe: CInt) {
    let watch = BlockingThread(name: "iov-parent")
    watch.start {
      var byte: UInt8 = 0
      while true {
        let count = read(pipe, &byte, 1)
        if count == 0 || (count < 0 && errno != EINTR) { exit(0) }
      }
    }
  }

  /// To standard error, which the agent reads: one line for each message.
  private static func makeLogger() -> Logger {
    var logger = Logger(label: "iov.plugin.\(Plugin.name)", factory: { StreamLogHandler.standardError(label: $0) })
    logger.logLevel = .info
    return logger
  }

  private static func complain(_ message: String, exitCode: CInt) -> Never {
    let program = CommandLine.arguments.first?.split(separator: "/").last ?? "plugin"
    let line = Array("\(program): \(message)\n".utf8)
    write(STDERR_FILENO, line, line.count)
    exit(exitCode)
  }
}
