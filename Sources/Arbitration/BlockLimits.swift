import Messages

/// What a claim can say of how fast a disk's function is.
extension BlockAttributes {
  package static let limits = [
    "block.max_read_operations_per_second", "block.max_write_operations_per_second", "block.max_read_bytes_per_second",
    "block.max_write_bytes_per_second",
  ]

  var settings: [(isSet: Bool, path: String)] {
    let limits = [
      maxReadOperationsPerSecond, maxWriteOperationsPerSecond, maxReadBytesPerSecond, maxWriteBytesPerSecond,
    ]
    return zip(limits, Self.limits).map { ($0 != nil, $1) } + [
      (sizeBytes != nil, Attributes.sizeBytes), (readOnly != nil, "block.read_only"),
      (burstFactor != nil, "block.burst_factor"), (burstSeconds != nil, "block.burst_seconds"),
      (minOperationsPerSecond != nil, "block.min_operations_per_second"),
      (minBytesPerSecond != nil, "block.min_bytes_per_second"),
    ]
  }

  /// The limits that are set.
  var maxima: [UInt64] {
    [maxReadOperationsPerSecond, maxWriteOperationsPerSecond, maxReadBytesPerSecond, maxWriteBytesPerSecond]
      .compactMap(\.self)
  }

  /// A limit of zero is none, a burst of once the limit is none, and one second is how long a burst lasts unless it is said.
  mutating func removeWhatSaysNothing() {
    if maxReadOperationsPerSecond == 0 { maxReadOperationsPerSecond = nil }
    if maxWriteOperationsPerSecond == 0 { maxWriteOperationsPerSecond = nil }
    if maxReadBytesPerSecond == 0 { maxReadBytesPerSecond = nil }
    if maxWriteBytesPerSecond == 0 { maxWriteBytesPerSecond = nil }
    if minOperationsPerSecond == 0 { minOperationsPerSecond = nil }
    if minBytesPerSecond == 0 { minBytesPerSecond = nil }
    if burstFactor ?? 0 <= 1 { burstFactor = nil }
    if burstSeconds ?? 0 <= 1 { burstSeconds = nil }
  }

  /// What is wrong with the limits whatever disk they are for; nil if nothing is.
  var problem: String? {
    if case .unrecognized(let number) = rateGuarantee {
      return "the rate guarantee number \(number) is not known; known ones: REQUIRED, BEST_EFFORT"
    }
    return problem(
      "operations per second", least: minOperationsPerSecond, maxReadOperationsPerSecond, maxWriteOperationsPerSecond)
      ?? problem("bytes per second", least: minBytesPerSecond, maxReadBytesPerSecond, maxWriteBytesPerSecond)
      ?? problemWithBursts
  }

  private func problem(_ unit: String, least: UInt64?, _ read: UInt64?, _ write: UInt64?) -> String? {
    // Where one of the two has no limit, there is always room for the minimum.
    guard let least, let read, let write else { return nil }
    let (most, isHuge) = read.addingReportingOverflow(write)
    guard !isHuge, least > most else { return nil }
    return "a minimum of \(least) \(unit) is above the maxima of reads and writes together, \(most)"
  }

  /// More cannot be counted: QEMU's throttling has 10^15 for the highest value of a limit and of all that a burst may do.
  private static var highest: UInt64 { 1_000_000_000_000_000 }

  private var problemWithBursts: String? {
    let set = maxima
    let factor = UInt64(burstFactor ?? 1)
    if burstFactor == nil, let burstSeconds {
      return "a burst of \(burstSeconds) seconds is asked for without a factor: say how many times the limits it may go"
    }
    if burstFactor != nil, set.isEmpty {
      return "a burst of \(factor) times the limits is asked for, and there is no limit"
    }
    for limit in set {
      let (rate, isHuge) = limit.multipliedReportingOverflow(by: factor * UInt64(burstSeconds ?? 1))
      guard isHuge || rate > Self.highest else { continue }
      return
        "a limit of \(limit) with a burst of \(factor) times that for \(burstSeconds ?? 1) seconds is above \(Self.highest), "
        + "the most that can be counted"
    }
    return nil
  }
}

extension UpdateClaimRatesRequest {
  var namesRatesOfNetworks: Bool { maxTransmitBitsPerSecond != nil || maxReceiveBitsPerSecond != nil }

  var namesRatesOfDisks: Bool {
    maxReadOperationsPerSecond != nil || maxWriteOperationsPerSecond != nil || maxReadBytesPerSecond != nil
      || maxWriteBytesPerSecond != nil || burstFactor != nil || burstSeconds != nil
  }

  var namesRates: Bool { namesRatesOfNetworks || namesRatesOfDisks }
}
