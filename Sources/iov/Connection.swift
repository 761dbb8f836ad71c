import ArgumentParser
import Glibc
import Services

#if canImport(FoundationEssentials)
  import FoundationEssentials
#else
  import Foundation
#endif

extension CallOptions {
  /// For a single question: a coordinator that does not answer must not hang a script.
  static let command = CallOptions(timeout: .seconds(10))
}

/// Exit codes that scripts can rely on; the root command's help lists them.
extension ExitCode {
  static let refused = ExitCode(1)
  static let notFound = ExitCode(2)
  static let unreachable = ExitCode(3)
  static let timedOut = ExitCode(4)

  init(_ code: StatusCode) {
    switch code {
    case .notFound: self = .notFound
    case .unavailable, .deadlineExceeded: self = .unreachable
    default: self = .refused
    }
  }
}

/// Runs `body` with a channel to the coordinator; a failed call becomes a message and an exit code.
func withCoordinator(_ options: CommonOptions, _ body: (RPCChannel) async throws -> Void) async throws {
  let text = options.coordinator ?? ProcessInfo.processInfo.environment["IOV_COORDINATOR"] ?? "127.0.0.1:7100"
  let endpoint: SocketEndpoint
  do {
    endpoint = try SocketEndpoint(parsing: text)
  } catch {
    throw ValidationError("'\(text)' is no endpoint (\(error)): use HOST:PORT, [IPv6]:PORT or unix:PATH")
  }
  let channel = RPCChannel(endpoint)
  let result: Result<Void, any Error>
  do {
    result = .success(try await body(channel))
  } catch {
    result = .failure(error)
  }
  await channel.close()
  do {
    try result.get()
  } catch let error as RPCError {
    printToStandardError("iov: \(error.message)")
    if ExitCode(error.code) == .unreachable {
      printToStandardError(
        "iov: is the coordinator running at \(text)? Name another with --coordinator or $IOV_COORDINATOR.")
    }
    throw ExitCode(error.code)
  }
}

/// Messages and progress, beside the output proper.
func printToStandardError(_ line: String) {
  var bytes = Array((line + "\n").utf8)[...]
  while !bytes.isEmpty {
    let written = bytes.withUnsafeBytes { write(STDERR_FILENO, $0.baseAddress, $0.count) }
    // Nobody is there to be told that standard error is closed.
    guard written > 0 else { return }
    bytes = bytes.dropFirst(written)
  }
}
