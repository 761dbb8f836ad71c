/// Counts the frames of a peer that cost this side something and bring it nothing: PING, SETTINGS, PRIORITY, RST_STREAM,
/// WINDOW_UPDATE, empty DATA. Each is harmless; a flood of them keeps a processor busy without one call made.
struct OverheadCount {
  enum Kind {
    case windowUpdate
    /// Headers so long that they were not looked at to their end.
    case absurdHeaderList
    case other
  }

  private var count = 0
  /// WINDOW_UPDATEs that our own DATA frames have asked for.
  private var expectedWindowUpdates = 0
  private var hasSentSomething = false

  mutating func add(_ kind: Kind) {
    switch kind {
    case .windowUpdate where expectedWindowUpdates > 0: expectedWindowUpdates -= 1
    case .windowUpdate, .other: count += 1
    case .absurdHeaderList: count += 100
    }
  }

  /// A reader may give credit for its stream and for the connection with each DATA frame, or each KiB that it has read.
  mutating func sentData(_ byteCount: Int) {
    expectedWindowUpdates = min(expectedWindowUpdates + 2 + byteCount / 512, 1 << 16)
    hasSentSomething = true
  }

  mutating func takeSentSomething() -> Bool {
    defer { hasSentSomething = false }
    return hasSentSomething
  }

  /// What was counted when it began has turned out to be of use.
  mutating func takeBack() { count -= 1 }

  mutating func take() -> Int {
    // Below zero: a frame that was counted with those before is taken back now, and makes up for one that comes.
    guard count > 0 else { return 0 }
    defer { count = 0 }
    return count
  }
}

/// How many such frames a peer may send: so many at once, and then so many a second.
///
/// What a call that is given up costs, two frames, is far from it; what floods need is far beyond.
public struct OverheadBudget: Sendable {
  public let burst: Int
  public let perSecond: Int
  /// Frames that may still come at `updated`.
  private var left: Int
  private var updated: Duration = .zero

  public init(burst: Int, perSecond: Int) {
    self.burst = burst
    self.perSecond = perSecond
    left = burst
  }

  /// Takes `count` frames off the budget; false if it is used up.
  ///
  /// - Parameter now: since any instant, the same one each time.
  public mutating func spend(_ count: Int, at now: Duration) -> Bool {
    guard count > 0 else { return true }
    let milliseconds = max(.zero, min(now - updated, .seconds(3600))) / .milliseconds(1)
    let earned = Int(milliseconds) * perSecond / 1000
    if earned > 0 {
      left = min(burst, left + earned)
      updated = now
    }
    left -= min(count, burst + 1)
    return left >= 0
  }
}
