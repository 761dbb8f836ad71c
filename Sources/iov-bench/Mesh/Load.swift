import ArgumentParser
import ClusterSecurity
import Glibc
import NIOPosix
import Services
import Synchronization

/// How much load, on whom, for how long.
struct LoadOptions: ParsableArguments {
  @Argument(help: "The server: HOST:PORT, [IPv6]:PORT or unix:PATH.") var endpoint: String
  @Option(help: "Connections.") var connections = 1
  @Option(help: "Calls in flight on each connection.") var streams = 1
  @Option(help: "Bytes of a message on the wire.") var messageBytes = 100
  @Option(help: "How long it is measured.") var seconds = 3.0
  @Option(help: "How long it runs before that.") var warmupSeconds = 0.5
  @Option(help: "Messages on each stream, after which it ends; left out: as many as there is time for.")
  var messages: UInt64?
  @Option(help: "Event loops of the client.") var threads = 1
  @Option(help: "Mutual TLS, with a directory of `iov pki issue operator`.") var tls: String?
  @Option(help: "Process id of the server, if it runs on this machine: its processor time is told too.")
  var serverProcess: Int32?

  func validate() throws {
    guard connections > 0, streams > 0, threads > 0 else {
      throw ValidationError("--connections, --streams and --threads are at least 1")
    }
    guard messageBytes >= 2, seconds > 0, warmupSeconds >= 0 else {
      throw ValidationError("--message-bytes is at least 2, and times are not negative")
    }
  }

  func makeChannels() throws -> [RPCChannel] {
    let endpoint = try SocketEndpoint(parsing: endpoint)
    let group = MultiThreadedEventLoopGroup(numberOfThreads: threads)
    let security = try tls.map { try TLSSettings(directory: $0).client().security }
    return (0..<connections).map { _ in RPCChannel(endpoint, security: security, eventLoopGroup: group) }
  }
}

/// What was moved while it was measured.
struct Tally: Sendable {
  var latencies = LatencyHistogram()
  var messages: UInt64 = 0
  var bytes: UInt64 = 0

  mutating func add(_ other: Tally) {
    latencies.add(other.latencies)
    messages += other.messages
    bytes += other.bytes
  }
}

/// Whether what happens now counts, read by every worker.
final class Stopwatch: Sendable {
  enum Phase: Int {
    case warmingUp, measuring, over
  }

  private let current = Atomic(Phase.warmingUp.rawValue)
  /// Messages after which a worker ends, though it is not over.
  let messagesPerWorker: UInt64

  init(messagesPerWorker: UInt64) { self.messagesPerWorker = messagesPerWorker }

  /// Whether a worker that has moved so much goes on.
  func goesOn(after tally: Tally) -> Bool { tally.messages < messagesPerWorker && phase != .over }

  var phase: Phase {
    get { Phase(rawValue: current.load(ordering: .relaxed)) ?? .over }
    set { current.store(newValue.rawValue, ordering: .relaxed) }
  }
}

/// The sum of all workers' tallies, and what it cost.
struct Measurement {
  var tally = Tally()
  var seconds = 0.0
  var clientProcessorSeconds = 0.0
  var serverProcessorSeconds: Double?

  /// Runs `worker` once for each stream of each connection, all at a time, and measures between warm-up and end. A worker
  /// goes on until the stopwatch is over.
  static func of(
    _ options: LoadOptions, _ worker: @escaping @Sendable (RPCChannel, Stopwatch) async throws -> Tally
  ) async throws -> Measurement {
    let channels = try options.makeChannels()
    let stopwatch = Stopwatch(messagesPerWorker: options.messages ?? .max)
    let server = options.serverProcess.map(ObservedProcess.init)
    // A number of messages is counted from the first; a time begins after the warm-up.
    if options.messages != nil { stopwatch.phase = .measuring }
    return try await withThrowingTaskGroup(of: Tally.self) { group in
      for channel in channels {
        for _ in 0..<options.streams { group.addTask { try await worker(channel, stopwatch) } }
      }
      var measurement = Measurement()
      if options.messages == nil { try await Task.sleep(for: .seconds(options.warmupSeconds)) }
      let (begun, client, busy) = (monotonicNanoseconds(), ownProcessorSeconds(), server?.processorSeconds)
      stopwatch.phase = .measuring
      if options.messages == nil {
        try await Task.sleep(for: .seconds(options.seconds))
      } else {
        try await measurement.add(&group)
      }
      stopwatch.phase = .over
      measurement.seconds = Double(monotonicNanoseconds() - begun) / 1e9
      measurement.clientProcessorSeconds = ownProcessorSeconds() - client
      if let busy, let now = server?.processorSeconds { measurement.serverProcessorSeconds = now - busy }
      try await measurement.add(&group)
      for channel in channels { await channel.close() }
      return measurement
    }
  }

  /// Waits until the workers have ended.
  private mutating func add(_ group: inout ThrowingTaskGroup<Tally, any Error>) async throws {
    for try await worker in group { tally.add(worker) }
  }

  /// One figure a line: a name with its unit, a blank, the value.
  func printMessages() {
    let messages = max(1, Double(tally.messages))
    report("messages_per_second", messages / seconds)
    report("p50_microseconds", tally.latencies.microseconds(at: 0.5))
    report("p99_microseconds", tally.latencies.microseconds(at: 0.99))
    report("client_microseconds_per_message", clientProcessorSeconds * 1e6 / messages)
    if let serverProcessorSeconds {
      report("server_microseconds_per_message", serverProcessorSeconds * 1e6 / messages)
    }
  }

  func printBytes() {
    let gigabytes = max(1, Double(tally.bytes)) / 1e9
    report("megabytes_per_second", gigabytes * 1000 / seconds)
    report("client_seconds_per_gigabyte", clientProcessorSeconds / gigabytes)
    if let serverProcessorSeconds { report("server_seconds_per_gigabyte", serverProcessorSeconds / gigabytes) }
  }
}

func report(_ name: String, _ value: Double) {
  print("\(name) \((value * 1000).rounded() / 1000)")
  // What takes minutes is read meanwhile, also by a pipe.
  fflush(nil)
}
