import InteropMessages

/// Calls one after another for a long time: rpc_soak over one channel, channel_soak over a new one for each.
public struct Soak: Sendable {
  public var iterations = 10
  /// Calls that may fail or be late.
  public var maximumFailures = 0
  /// A call that takes longer counts as failed.
  public var maximumLatency: Duration = .seconds(1)
  /// How long all of it may take.
  public var overallTimeout: Duration = .seconds(10)
  public var minimumTimeBetweenCalls: Duration = .zero
  public var requestByteCount = 271828
  public var responseByteCount = 314159

  public init() {}

  func run(on channel: RPCChannel) async throws {
    try await run { try await call(channel) }
  }

  func run(newChannels makeChannel: () throws -> RPCChannel) async throws {
    try await run {
      let channel = try makeChannel()
      do {
        try await call(channel)
      } catch {
        await channel.close()
        throw error
      }
      await channel.close()
    }
  }

  private func run(_ call: () async throws -> Void) async throws {
    let clock = ContinuousClock()
    let start = clock.now
    var failures: [String] = []
    for iteration in 0..<iterations {
      let begin = clock.now
      guard begin - start < overallTimeout else {
        throw InteropFailure(
          description: "only \(iteration) of \(iterations) calls were made within \(overallTimeout)")
      }
      do {
        try await call()
        let latency = clock.now - begin
        if latency > maximumLatency { failures.append("call \(iteration) took \(latency)") }
      } catch {
        failures.append("call \(iteration): \(error)")
      }
      if minimumTimeBetweenCalls > .zero { try await clock.sleep(until: begin + minimumTimeBetweenCalls) }
    }
    guard failures.count <= maximumFailures else {
      throw InteropFailure(
        description: "\(failures.count) of \(iterations) calls failed: \(failures.prefix(10).joined(separator: "; "))")
    }
  }

  private func call(_ channel: RPCChannel) async throws {
    let request = SimpleRequest {
      $0.responseSize = Int32(clamping: responseByteCount)
      $0.payload = .zeros(requestByteCount)
    }
    let response = try await TestServiceClient(channel).unaryCall(request)
    try expect("the response's size", response.payload?.body.count ?? 0, is: responseByteCount)
  }
}
