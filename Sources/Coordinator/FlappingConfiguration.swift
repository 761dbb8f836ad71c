import Arbitration
import Configuration

/// When an end node whose health changes too often is left alone, and for how long.
public struct FlappingConfiguration: Sendable, Decodable {
  /// More changes than this in the window are too many.
  public var changes: UInt32 = 5
  public var windowSeconds: UInt32 = 600
  /// The first time; each further time twice as long.
  public var holdSeconds: UInt32 = 60
  public var longestHoldSeconds: UInt32 = 3600

  public init() {}

  private enum CodingKeys: String, CodingKey { case changes, windowSeconds, holdSeconds, longestHoldSeconds }

  public init(from decoder: any Decoder) throws {
    let values = try decoder.container(keyedBy: CodingKeys.self)
    changes = try values.decodeIfPresent(UInt32.self, forKey: .changes) ?? changes
    windowSeconds = try values.decodeIfPresent(UInt32.self, forKey: .windowSeconds) ?? windowSeconds
    holdSeconds = try values.decodeIfPresent(UInt32.self, forKey: .holdSeconds) ?? holdSeconds
    longestHoldSeconds = try values.decodeIfPresent(UInt32.self, forKey: .longestHoldSeconds) ?? longestHoldSeconds
    guard (1...1000).contains(changes) else {
      throw InvalidValue("flapping.changes is \(changes); it must be 1 to 1000")
    }
    for (name, seconds) in [
      ("windowSeconds", windowSeconds), ("holdSeconds", holdSeconds), ("longestHoldSeconds", longestHoldSeconds),
    ] where !(1...86_400).contains(seconds) {
      throw InvalidValue("flapping.\(name) is \(seconds); it must be 1 to 86400")
    }
    guard holdSeconds <= longestHoldSeconds else {
      throw InvalidValue(
        "flapping.holdSeconds is \(holdSeconds), which is above flapping.longestHoldSeconds (\(longestHoldSeconds))")
    }
  }
}

extension ArbiterSettings {
  mutating func take(_ flapping: FlappingConfiguration) {
    flapLimit = flapping.changes
    flapWindowMilliseconds = UInt64(flapping.windowSeconds) * 1000
    holdMilliseconds = UInt64(flapping.holdSeconds) * 1000
    longestHoldMilliseconds = UInt64(flapping.longestHoldSeconds) * 1000
  }
}
