import ArgumentParser
import Glibc
import Interop
import MeshRPC
import MeshTLS

@main
struct InteropCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "iov-interop",
    abstract: "The interoperability tests of the gRPC project, as server and as client.",
    discussion: "Flags are spelt as other implementations spell them: their test runners can run this one.",
    subcommands: [InteropServerCommand.self, InteropClientCommand.self])
}

struct InteropServerCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "server", abstract: "Serves grpc.testing.TestService until it is ended.")

  @Option(help: "The port to listen on; 0 lets the system choose. It is printed.") var port: Int
  @Option(help: "The address to listen on.") var host = "127.0.0.1"
  @OptionGroup(title: "TLS") var tls: TLSFlags

  func run() async throws {
    let server = RPCServer(services: [InteropService()])
    let security = tls.usesTLS ? try ServerTLS(tls.paths) : nil
    let endpoint = try await server.bind(.tcp(host: host, port: port), security: security)
    print("listening on \(endpoint)")
    fflush(nil)
    try await server.run()
  }
}

struct InteropClientCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "client", abstract: "Runs one test case; exits with 1 and says why if the server does not pass it.")

  @Option(name: .customLong("server_host"), help: "The server's name or address.") var serverHost = "127.0.0.1"
  @Option(name: .customLong("server_port"), help: "The server's port.") var serverPort: Int
  @Option(name: .customLong("test_case"), help: "Which case to run.") var testCase: InteropCase
  @OptionGroup(title: "rpc_soak and channel_soak") var soak: SoakFlags
  @OptionGroup(title: "TLS") var tls: TLSFlags
  @Option(name: .customLong("server_host_override"), help: "The name that the server's certificate must have.")
  var serverHostOverride: String?
  @Option(
    name: .customLong("use_test_ca"), help: "Whether to believe the authorities of --ca_file, and not the system's.")
  var usesTestAuthority = false

  func validate() throws {
    guard !usesTestAuthority || tls.authorities != nil else {
      throw ValidationError("--use_test_ca=true needs --ca_file: this program brings no authority of its own")
    }
  }

  func run() async throws {
    let endpoint = SocketEndpoint.tcp(host: serverHost, port: serverPort)
    let security = try security()
    try await InteropClient(soak: soak.soak) { RPCChannel(endpoint, security: security) }.run(testCase)
  }

  private func security() throws -> ClientTLS? {
    guard tls.usesTLS else { return nil }
    return try ClientTLS(tls.paths, serverName: serverHostOverride.map { .dns($0) } ?? .endpoint)
  }
}

extension InteropCase: ExpressibleByArgument {}

struct SoakFlags: ParsableArguments {
  @Option(name: .customLong("soak_iterations"), help: "Calls to make.") var iterations = 10
  @Option(name: .customLong("soak_max_failures"), help: "Calls that may fail or be late.") var maximumFailures = 0
  @Option(
    name: .customLong("soak_per_iteration_max_acceptable_latency_ms"), help: "A call that takes longer has failed.")
  var maximumLatencyMilliseconds = 1000
  @Option(name: .customLong("soak_overall_timeout_seconds"), help: "How long all calls together may take.")
  var overallTimeoutSeconds = 10
  @Option(name: .customLong("soak_min_time_ms_between_rpcs"), help: "Time from one call's beginning to the next one's.")
  var minimumTimeBetweenCallsMilliseconds = 0
  @Option(name: .customLong("soak_request_size"), help: "Bytes of a request's payload.") var requestByteCount = 271828
  @Option(name: .customLong("soak_response_size"), help: "Bytes of a response's payload.")
  var responseByteCount = 314159

  func validate() throws {
    guard iterations > 0, maximumFailures >= 0, maximumLatencyMilliseconds >= 0, overallTimeoutSeconds > 0,
      minimumTimeBetweenCallsMilliseconds >= 0, requestByteCount >= 0, responseByteCount >= 0
    else { throw ValidationError("--soak_… flags are not negative; iterations and overall timeout are not 0") }
  }

  var soak: Soak {
    var soak = Soak()
    soak.iterations = iterations
    soak.maximumFailures = maximumFailures
    soak.maximumLatency = .milliseconds(maximumLatencyMilliseconds)
    soak.overallTimeout = .seconds(overallTimeoutSeconds)
    soak.minimumTimeBetweenCalls = .milliseconds(minimumTimeBetweenCallsMilliseconds)
    soak.requestByteCount = requestByteCount
    soak.responseByteCount = responseByteCount
    return soak
  }
}
