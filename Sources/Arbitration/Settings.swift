/// What an operator may change of the arbiter's behaviour.
public struct ArbiterSettings: Sendable, Hashable {
  /// How long a host's word is good.
  public var leaseTermMilliseconds: UInt32
  /// How often an agent is told to renew its lease.
  public var heartbeatIntervalMilliseconds: UInt32

  public init(leaseTermMilliseconds: UInt32 = 10_000, heartbeatIntervalMilliseconds: UInt32 = 3_000) {
    self.leaseTermMilliseconds = leaseTermMilliseconds
    self.heartbeatIntervalMilliseconds = heartbeatIntervalMilliseconds
  }
}
