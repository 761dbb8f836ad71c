import NIOCore

/// One timer for the deadlines of many calls: armed for the earliest, it lets its owner look for those that have passed.
/// Scheduling and cancelling a timer for each call would cost more than the call.
struct DeadlineTimer {
  private var armed: (for: NIODeadline, Scheduled<Void>)?

  /// Calls `fire` not later than at `deadline`; perhaps earlier, and for other deadlines too.
  mutating func arm(for deadline: NIODeadline, on eventLoop: any EventLoop, _ fire: @escaping @Sendable () -> Void) {
    if let armed {
      guard deadline < armed.for else { return }
      armed.1.cancel()
    }
    armed = (deadline, eventLoop.scheduleTask(deadline: deadline, fire))
  }

  /// To be called first when it has fired.
  mutating func fired() { armed = nil }

  mutating func cancel() {
    armed?.1.cancel()
    armed = nil
  }
}

extension NIODeadline {
  /// A call that may take longer than a year has no deadline that matters.
  static func after(_ duration: Duration) -> NIODeadline { .now() + TimeAmount(min(duration, .seconds(365 * 86_400))) }
}

extension TimeAmount {
  /// At most a year.
  init(_ duration: Duration) {
    let (seconds, attoseconds) = max(.zero, min(duration, .seconds(365 * 86_400))).components
    self = .nanoseconds(seconds * 1_000_000_000 + attoseconds / 1_000_000_000)
  }
}

extension Collection where Element: CallStream {
  /// Has `end` called for the streams whose deadline has passed; answers the next deadline of the others.
  func endLate(_ end: (Element) -> Void) -> NIODeadline? {
    let now = NIODeadline.now()
    var next: NIODeadline?
    var late: [Element] = []
    for stream in self {
      guard let deadline = stream.deadline else { continue }
      if deadline <= now { late.append(stream) } else { next = Swift.min(next ?? deadline, deadline) }
    }
    for stream in late.sorted(by: { $0.id < $1.id }) { end(stream) }
    return next
  }
}
