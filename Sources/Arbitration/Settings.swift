/// What an operator may change of the arbiter's behaviour.
public struct ArbiterSettings: Sendable, Hashable {
  /// How long a host's word is good.
  public var leaseTermMilliseconds: UInt32
  /// How often an agent is told to renew its lease.
  public var heartbeatIntervalMilliseconds: UInt32
  /// How long after the end of its lease a host is given before anything is concluded from its silence: what the clocks
  /// of two machines can differ by in one term, and more.
  public var fenceMarginMilliseconds: UInt32
  /// The hosts that may be fenced without an operator being asked.
  public var automaticFenceHosts: Set<String>

  public init(
    leaseTermMilliseconds: UInt32 = 10_000, heartbeatIntervalMilliseconds: UInt32 = 3_000,
    fenceMarginMilliseconds: UInt32 = 5_000, automaticFenceHosts: Set<String> = []
  ) {
    self.leaseTermMilliseconds = leaseTermMilliseconds
    self.heartbeatIntervalMilliseconds = heartbeatIntervalMilliseconds
    self.fenceMarginMilliseconds = fenceMarginMilliseconds
    self.automaticFenceHosts = automaticFenceHosts
  }
}
