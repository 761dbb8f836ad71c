import ArgumentParser
import ClusterSecurity
import Glibc
import MeshTLS
import Services

extension CallOptions {
  /// For a single question: a coordinator that does not answer must not hang a script.
  static let command = CallOptions(timeout: .seconds(10))
}

/// Exit codes that scripts can rely on; the root command's help lists them.
extension ExitCode {
  static let refused = ExitCode(1)
  static let needsAttention = ExitCode(1)
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

/// Where the coordinator is, and for how long it is sought.
struct ConnectionOptions: ParsableArguments {
  @Option(
    help: ArgumentHelp(
      "Where the coordinator listens: HOST:PORT, [IPv6]:PORT or unix:PATH. Default: $IOV_COORDINATOR, else the socket of this machine's coordinator, unix:/run/iov-coordinator/coordinator.sock.",
      valueName: "endpoint"))
  var coordinator: String?

  @Option(
    help: ArgumentHelp(
      "Who you are, over TCP: a directory of `iov pki issue operator`. Default: $IOV_TLS.", valueName: "directory"),
    completion: .directory)
  var tls: String?

  @Flag(help: "Speak plain text over TCP, with a coordinator that is configured so. Also: $IOV_PLAIN_TEXT.")
  var plainText = false

  @Option(
    help: ArgumentHelp(
      "For how long a coordinator that cannot be reached is tried again; 0: once.", valueName: "seconds"))
  var connectTimeout: UInt32 = 5

  /// TLS for an endpoint; nil over a Unix socket, and where plain text is asked for.
  func security(for endpoint: SocketEndpoint) throws -> ClientTLS? {
    try Self.security(for: endpoint, directory: tls, plainText: plainText)
  }

  static func security(for endpoint: SocketEndpoint, directory: String?, plainText: Bool) throws -> ClientTLS? {
    guard case .tcp = endpoint, !plainText, getenv("IOV_PLAIN_TEXT") == nil || directory != nil else { return nil }
    guard let directory = directory ?? getenv("IOV_TLS").map({ String(cString: $0) }) else {
      throw ValidationError(
        "\(endpoint) is reached over TLS, which takes a certificate: name its directory with --tls or $IOV_TLS ('iov pki "
          + "issue operator NAME' makes one), or give --plain-text")
    }
    do {
      return try TLSSettings(directory: directory).client().security
    } catch {
      throw ValidationError("--tls \(directory): \(error)")
    }
  }

  func endpoint() throws -> SocketEndpoint { try Self.endpoint(named: coordinator) }

  /// Nil: where the environment says, or the usual place.
  static func endpoint(named name: String?) throws -> SocketEndpoint {
    let text =
      name ?? getenv("IOV_COORDINATOR").map { String(cString: $0) } ?? "unix:/run/iov-coordinator/coordinator.sock"
    do {
      return try SocketEndpoint(parsing: text)
    } catch {
      throw ValidationError("'\(text)' is no endpoint (\(error)): use HOST:PORT, [IPv6]:PORT or unix:PATH")
    }
  }
}

/// The coordinator's services, over a channel that a command has for its time.
struct Coordinator: Sendable {
  let channel: RPCChannel
  let patience: Patience

  var claims: ClaimsClient { ClaimsClient(channel) }
  var inventory: InventoryClient { InventoryClient(channel) }
  var operations: OperationsClient { OperationsClient(channel) }

  init(_ endpoint: SocketEndpoint, security: ClientTLS? = nil, patience: Patience) {
    var limits = ChannelLimits()
    limits.connectTimeout = .seconds(Int64(min(max(patience.seconds, 1), 5)))
    // Somebody waits at the terminal: a coordinator that is back is found within a second.
    limits.reconnect = ExponentialBackoff(initial: .milliseconds(50), multiplier: 2, maximum: .seconds(1))
    // A list is one message, and the cluster may have many claims; the coordinator is trusted with our memory.
    limits.maximumMessageByteCount = 256 << 20
    channel = RPCChannel(endpoint, security: security, limits: limits)
    self.patience = patience
  }

  /// Asks a question, again while the coordinator is away. A call that broke in the middle may have been carried out: only
  /// what may be asked twice is asked so.
  func ask<Answer>(_ question: () async throws -> Answer) async throws -> Answer {
    try await ask { _ in try await question() }
  }

  /// `isAgain`: an earlier call may have been carried out.
  func ask<Answer>(_ question: (_ isAgain: Bool) async throws -> Answer) async throws -> Answer {
    var outage = Patience.Outage(patience)
    var isAgain = false
    while true {
      do {
        return try await question(isAgain)
      } catch let error as RPCError where error.code == .unavailable {
        try await outage.wait(after: error)
        isAgain = true
      }
    }
  }

  /// Nil: this coordinator is older than the question.
  func askIfKnown<Answer>(_ question: () async throws -> Answer) async throws -> Answer? {
    do {
      return try await ask(question)
    } catch let error as RPCError where error.code == .unimplemented {
      return nil
    }
  }
}

/// Runs `body` with the coordinator; a failed call becomes a message and an exit code.
func withCoordinator(_ options: ConnectionOptions, _ body: (Coordinator) async throws -> Void) async throws {
  let endpoint = try options.endpoint()
  let coordinator = Coordinator(
    endpoint, security: try options.security(for: endpoint), patience: Patience(seconds: options.connectTimeout))
  let result: Result<Void, any Error>
  do {
    result = .success(try await body(coordinator))
  } catch {
    result = .failure(error)
  }
  await coordinator.channel.close()
  do {
    try result.get()
  } catch let error as RPCError {
    printToStandardError("iov: \(words(for: error))")
    if ExitCode(error.code) == .unreachable {
      printToStandardError(
        "iov: is the coordinator running at \(coordinator.channel.endpoint)? Name another with --coordinator or "
          + "$IOV_COORDINATOR.")
    }
    throw ExitCode(error.code)
  }
}

private func words(for error: RPCError) -> String {
  guard error.code == .unimplemented else { return error.message }
  return "the coordinator is older than this program (\(iovmeshVersion)) and cannot do that: \(error.message)"
}
