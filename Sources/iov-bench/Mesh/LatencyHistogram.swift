/// How long calls took, in buckets whose width is 1/64 of what they hold: small, and no allocation per call.
struct LatencyHistogram: Sendable {
  private static let bucketsPerDoubling = 64
  private var counts = [UInt64](repeating: 0, count: 40 * bucketsPerDoubling)
  private(set) var count: UInt64 = 0

  mutating func record(nanoseconds: UInt64) {
    counts[min(Self.bucket(max(1, nanoseconds)), counts.count - 1)] += 1
    count += 1
  }

  mutating func add(_ other: LatencyHistogram) {
    for index in counts.indices { counts[index] += other.counts[index] }
    count += other.count
  }

  /// The time within which `share` of the calls were answered, in microseconds.
  func microseconds(at share: Double) -> Double {
    var left = UInt64((Double(count) * share).rounded(.up))
    for (index, count) in counts.enumerated() {
      guard count < left else { return Double(Self.lowest(index)) / 1000 }
      left -= count
    }
    return 0
  }

  private static func bucket(_ nanoseconds: UInt64) -> Int {
    let exponent = 63 - nanoseconds.leadingZeroBitCount
    let fraction = exponent >= 6 ? nanoseconds >> UInt64(exponent - 6) : nanoseconds << UInt64(6 - exponent)
    return exponent * bucketsPerDoubling + Int(fraction) - bucketsPerDoubling
  }

  private static func lowest(_ bucket: Int) -> UInt64 {
    let exponent = bucket / bucketsPerDoubling
    let fraction = UInt64(bucket % bucketsPerDoubling + bucketsPerDoubling)
    return exponent >= 6 ? fraction << UInt64(exponent - 6) : fraction >> UInt64(6 - exponent)
  }
}
