import Glibc
import LinuxDevices
import Logging
import Services

@testable import FunctionPluginKit

/// A directory that goes when its last holder does.
final class ScratchDirectory: Sendable {
  let path = "/tmp/iov-kit-" + String(UInt64.random(in: .min ... .max), radix: 36)

  init() throws { try SmallFile.makeDirectory(path) }

  deinit {
    for name in SmallFile.names(in: path) {
      for inner in SmallFile.names(in: "\(path)/\(name)") { unlink("\(path)/\(name)/\(inner)") }
      if unlink("\(path)/\(name)") < 0 { rmdir("\(path)/\(name)") }
    }
    rmdir(path)
  }
}

/// The notebook plugin on a real Unix socket for the time of `body`, as one plugin process's life.
func withRunningPlugin<Value: Sendable>(
  in directory: ScratchDirectory, describe: Bool = true,
  _ body: @Sendable (VirtualFunctionsClient) async throws -> Value
) async throws -> Value {
  let ledger = try await BlockingThread.detached { try DurableLedger(directory: directory.path + "/state") }
  let service = PluginService<NotebookPlugin>(
    configuration: .init(pages: 4), stateDirectory: directory.path + "/state",
    runtimeDirectory: directory.path + "/runtime", ledger: ledger,
    logger: Logger(label: "test", factory: { _ in SwiftLogNoOpLogHandler() }))
  let server = RPCServer(services: [service])
  let endpoint = try await server.bind(.unix(path: directory.path + "/plugin.sock"))
  return try await withThrowingTaskGroup(of: Void.self) { group in
    group.addTask { try await server.run() }
    let channel = RPCChannel(endpoint)
    let client = VirtualFunctionsClient(channel)
    if describe { _ = try await client.describe(handshake) }
    let value = try await body(client)
    await channel.close()
    group.cancelAll()
    return value
  }
}

let handshake = DescribeRequest {
  $0.protocolVersions = [1]
  $0.host = "host-a"
}

func request(_ token: UInt64, function: String = "notebook/1/1", size: UInt64 = 1) -> FunctionRequest {
  FunctionRequest {
    $0.role = .direct
    $0.assignment = Assignment {
      $0.function = function
      $0.endNode = "notebook/1"
      $0.claim = "claim"
      $0.token = FencingToken { $0.value = token }
      $0.attributes = Attributes { $0.block = BlockAttributes { $0.sizeBytes = size } }
    }
  }
}

/// The status that a call fails with; nil when it succeeds.
func refusal(_ call: () async throws -> some Sendable) async -> RPCError? {
  do {
    _ = try await call()
    return nil
  } catch {
    return error as? RPCError
  }
}
