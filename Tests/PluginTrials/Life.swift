import LinuxDevices
import Services

/// The verbs that bring a function into use in one role, and those that take it back, as an agent calls them.
public struct Life: Sendable {
  public var request: FunctionRequest

  public init(_ request: FunctionRequest) { self.request = request }

  /// Answers the last status.
  @discardableResult
  public func setUp(_ client: VirtualFunctionsClient) async throws -> FunctionStatus {
    switch request.role {
    case .consumer: return try await client.connect(request)
    case .server:
      _ = try await client.create(request)
      return try await client.serve(request)
    default:
      _ = try await client.create(request)
      return try await client.attach(request)
    }
  }

  public func release(_ client: VirtualFunctionsClient) async throws {
    switch request.role {
    case .consumer: _ = try await client.disconnect(request)
    case .server:
      _ = try await client.unserve(request)
      _ = try await client.destroy(request)
    default:
      _ = try await client.detach(request)
      _ = try await client.destroy(request)
    }
  }

  /// Whether a setup is refused for good: a duplicate that arrives late must not bring back what was released.
  public func isSpent(_ client: VirtualFunctionsClient) async -> Bool {
    do {
      _ = try await setUp(client)
      return false
    } catch {
      return (error as? RPCError)?.code == .failedPrecondition
    }
  }
}

/// Numbers from a seed, so that a failing run can be repeated.
public struct SeededNumbers: RandomNumberGenerator, Sendable {
  private var state: UInt64

  public init(seed: UInt64) { state = seed }

  /// SplitMix64.
  public mutating func next() -> UInt64 {
    state &+= 0x9e37_79b9_7f4a_7c15
    var z = state
    z = (z ^ (z >> 30)) &* 0xbf58_476d_1ce4_e5b9
    z = (z ^ (z >> 27)) &* 0x94d0_49bb_1331_11eb
    return z ^ (z >> 31)
  }
}
