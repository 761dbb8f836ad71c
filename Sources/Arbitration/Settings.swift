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
  /// An end node whose health changes more often than this in the window gives no new functions for a while.
  public var flapLimit: UInt32
  public var flapWindowMilliseconds: UInt64
  /// The first time; twice as long each further time, up to the longest.
  public var holdMilliseconds: UInt64
  public var longestHoldMilliseconds: UInt64
  /// A claim that was moved to a better path is not moved again before.
  public var upgradeIntervalMilliseconds: UInt64
  /// How long a group waits, or a claim is the next, before what becomes free is kept for it, how long it then may go without more, and
  /// how long it is after that until another one has its turn.
  package var turnMilliseconds: UInt64 = 300_000
  /// So many claims whose time is over are deleted in one event; with the last of them all of its group.
  package var mostExpiriesAtOnce = 256

  public init(
    leaseTermMilliseconds: UInt32 = 10_000, heartbeatIntervalMilliseconds: UInt32 = 3_000,
    fenceMarginMilliseconds: UInt32 = 5_000, automaticFenceHosts: Set<String> = [],
    flapLimit: UInt32 = 5, flapWindowMilliseconds: UInt64 = 600_000, holdMilliseconds: UInt64 = 60_000,
    longestHoldMilliseconds: UInt64 = 3_600_000, upgradeIntervalMilliseconds: UInt64 = 300_000
  ) {
    self.leaseTermMilliseconds = leaseTermMilliseconds
    self.heartbeatIntervalMilliseconds = heartbeatIntervalMilliseconds
    self.fenceMarginMilliseconds = fenceMarginMilliseconds
    self.automaticFenceHosts = automaticFenceHosts
    self.flapLimit = flapLimit
    self.flapWindowMilliseconds = flapWindowMilliseconds
    self.holdMilliseconds = holdMilliseconds
    self.longestHoldMilliseconds = longestHoldMilliseconds
    self.upgradeIntervalMilliseconds = upgradeIntervalMilliseconds
  }
}
