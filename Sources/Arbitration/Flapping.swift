import Messages

/// How often the health of an end node has changed, and how long it is left alone for that.
struct Flapping {
  /// On the arbiter's monotonic clock, the last ones.
  private(set) var flips: [UInt64] = []
  private var hold: (since: UInt64, until: UInt64)?
  private var holds = 0
  /// How many changes from now on have a cause that is known to pass.
  private var excused = 0
  /// When the hold is over, for people.
  private(set) var until = Timestamp()

  var isHeld: Bool { hold != nil }
  /// Until when no new function is given of it; nil: it can be.
  var heldUntil: UInt64? { hold?.until }

  /// The change that is there is one of a device that makes its functions anew, on which its link goes and comes back.
  mutating func excuse(isUnhealthy: Bool) { excused = isUnhealthy ? 2 : 1 }

  /// Answers whether it is left alone from now on. While it is, no change makes that longer: what comes after is decided at its end.
  mutating func note(at now: Instant, _ settings: ArbiterSettings) -> Bool {
    guard excused == 0 else {
      excused -= 1
      return false
    }
    let time = now.monotonicMilliseconds
    // A long time in which it did not change is a new beginning.
    if let last = flips.last,
      time - min(last, time) > settings.flapWindowMilliseconds + settings.longestHoldMilliseconds
    {
      holds = 0
    }
    flips.append(time)
    flips.removeFirst(max(0, flips.count - Int(settings.flapLimit) - 1))
    guard !isHeld, changesTooOften(since: 0, at: time, settings) else { return false }
    beginHold(at: now, settings)
    return true
  }

  /// Answers whether it is over. What went on changing too often all the while is left alone for the next one.
  mutating func end(at now: Instant, _ settings: ArbiterSettings) -> Bool {
    let time = now.monotonicMilliseconds
    guard let hold, hold.until <= time else { return false }
    if changesTooOften(since: hold.since + 1, at: time, settings) {
      beginHold(at: now, settings)
      return false
    }
    self.hold = nil
    return true
  }

  private func changesTooOften(since begin: UInt64, at time: UInt64, _ settings: ArbiterSettings) -> Bool {
    flips.count > Int(settings.flapLimit)
      && flips.allSatisfy { $0 >= begin && time - min($0, time) < settings.flapWindowMilliseconds }
  }

  private mutating func beginHold(at now: Instant, _ settings: ArbiterSettings) {
    let length = min(settings.longestHoldMilliseconds, settings.holdMilliseconds << UInt64(min(holds, 20)))
    holds += 1
    hold = (now.monotonicMilliseconds, now.monotonicMilliseconds + length)
    until = now.timestamp(afterMilliseconds: length)
  }
}

/// An end node that is healthy now and unhealthy a moment later takes a claim's function away again and again. After a number of
/// such changes in a window it gives no new ones for a while, and for twice as long the next time. What is in use stays. A
/// coordinator that begins anew begins anew with this, too.
extension Arbiter {
  mutating func noteFlips(at now: Instant) {
    for id in endNodes.takeFlipped() where endNodes[id]?.flapping.note(at: now, settings) ?? false {
      heldForFlapping.insert(id)
      changes.openings.isOtherwise = true
    }
  }

  mutating func endHolds(at now: Instant) {
    for id in heldForFlapping.sorted() {
      let before = endNodes[id]?.flapping.heldUntil
      let isOver = endNodes[id]?.flapping.end(at: now, settings) ?? false
      let after = endNodes[id]?.flapping.heldUntil
      if after == nil { heldForFlapping.remove(id) }
      if isOver { changes.openings.endNodes.insert(id) }
      // Those that wait say until when.
      if after != nil, after != before { changes.openings.isOtherwise = true }
    }
  }

  func checkFlapping(of node: EndNodeState) throws(Drop) {
    guard node.flapping.isHeld else { return }
    throw Drop(
      .flapping,
      "the health of \(node.record.name) has changed \(node.flapping.flips.count) times of late; it is left alone until "
        + node.flapping.until.minute)
  }
}
