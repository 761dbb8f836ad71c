import Foundation
import Glibc
import LinuxDevices
import Services

/// The coordinator's program with a store of its own, in a directory of its own that goes with it.
final class CoordinatorProgram: Sendable {
  private let scratch: ScratchDirectory
  private let executable: String

  private var directory: String { scratch.path }
  var storePath: String { directory + "/coordinator.sqlite" }
  /// Where everybody who can see the directory is served.
  var socket: SocketEndpoint { .unix(path: directory + "/socket") }

  /// - Parameters:
  ///   - executable: nil: the program beside this one.
  ///   - port: on 127.0.0.1, for agents; nil: none.
  ///   - certificate: the directory of the certificate that is shown there; nil: plain text.
  init(executable: String?, port: UInt16? = nil, certificate: String? = nil) throws {
    scratch = try ScratchDirectory(in: NSTemporaryDirectory())
    self.executable = executable ?? Self.neighbour("iov-coordinator")
    let agents = port.map { ", \"127.0.0.1:\($0)\"" } ?? ""
    var text = """
      listen: ["\(socket)"\(agents)]
      store: {path: \(directory)/coordinator.sqlite}
      logLevel: error

      """
    if let certificate {
      text += """
        tls:
          certificate: \(certificate)/certificate.pem
          key: \(certificate)/key.pem
          trustRoots: \(certificate)/ca.pem

        """
    } else if port != nil {
      text += "plainText: true\n"
    }
    try text.write(toFile: directory + "/coordinator.yaml", atomically: true, encoding: .utf8)
  }

  func start() throws -> ChildProcess {
    try ChildProcess.spawn(executable: executable, arguments: ["--config", directory + "/coordinator.yaml"])
  }

  /// For answers of any size, as they come from a full store.
  func channel() -> RPCChannel {
    var limits = ChannelLimits()
    limits.maximumMessageByteCount = 1 << 30
    // The first answer is measured to the millisecond.
    limits.reconnect = ExponentialBackoff(initial: .milliseconds(1), multiplier: 1, maximum: .milliseconds(1))
    return RPCChannel(socket, limits: limits)
  }

  /// Returns when the process answers.
  func firstAnswer(on channel: RPCChannel, from process: ChildProcess) async throws {
    while true {
      do {
        _ = try await InventoryClient(channel).getCluster(GetClusterRequest())
        return
      } catch let error as RPCError where error.code == .unavailable {
        guard process.identity.isAlive else {
          throw RPCError(.unavailable, "the coordinator ended by itself; it says why on standard error")
        }
        try await Task.sleep(for: .milliseconds(1))
      }
    }
  }

  private static func neighbour(_ name: String) -> String {
    let own = (try? FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/exe")) ?? CommandLine.arguments[0]
    return (own as NSString).deletingLastPathComponent + "/" + name
  }
}
