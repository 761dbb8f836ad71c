import CLinux

/// The parameters of a tbf: an average rate and how far above it a burst may go.
public struct TokenBucket: Sendable, Hashable {
  public var rateBitsPerSecond: UInt64
  public var burstBytes: UInt32
  /// What may wait; the rest is dropped.
  public var queueBytes: UInt32

  /// Five milliseconds of the rate as a burst, but always two full packets; fifty milliseconds of it waiting. Large
  /// segments are cut to the burst by the kernel.
  public init(rateBitsPerSecond: UInt64, mtu: UInt32) {
    let bytesPerSecond = max(1, rateBitsPerSecond / 8)
    self.rateBitsPerSecond = rateBitsPerSecond
    let packet = UInt64(mtu) + 18
    let burst = min(max(bytesPerSecond / 200, 2 * packet), 16 << 20)
    burstBytes = UInt32(burst)
    queueBytes = UInt32(min(max(bytesPerSecond / 20, 16 * packet) + burst, 64 << 20))
  }

  func write(to payload: inout NetlinkPayload) {
    var parameters = tc_tbf_qopt()
    parameters.rate = tc_ratespec(bitsPerSecond: rateBitsPerSecond)
    parameters.limit = queueBytes
    payload.attribute(Int(TCA_TBF_PARMS), structure: parameters)
    payload.attribute(Int(TCA_TBF_BURST), burstBytes)
    if let rate = wideBytesPerSecond(rateBitsPerSecond) { payload.attribute(Int(TCA_TBF_RATE64), rate) }
  }

  static func rate(in attributes: NetlinkAttributes) -> UInt64? {
    guard let options = attributes.nested(Int(TCA_OPTIONS)) else { return nil }
    return bitsPerSecond(options, wide: Int(TCA_TBF_RATE64), parameters: Int(TCA_TBF_PARMS))
  }
}

/// The parameters of an htb class whose rate is also its ceiling.
public struct HierarchicalClass: Sendable, Hashable {
  public var rateBitsPerSecond: UInt64
  public var burstBytes: UInt32
  public var quantumBytes: UInt32

  public init(rateBitsPerSecond: UInt64, mtu: UInt32) {
    let bucket = TokenBucket(rateBitsPerSecond: rateBitsPerSecond, mtu: mtu)
    self.rateBitsPerSecond = rateBitsPerSecond
    burstBytes = bucket.burstBytes
    quantumBytes = mtu + 18
  }

  func write(to payload: inout NetlinkPayload) {
    var parameters = tc_htb_opt()
    parameters.rate = tc_ratespec(bitsPerSecond: rateBitsPerSecond)
    parameters.ceil = parameters.rate
    parameters.quantum = quantumBytes
    // The time that the burst takes at the rate, in the kernel's ticks of 64 ns (PSCHED_SHIFT 6).
    let nanoseconds = UInt64(burstBytes) * 8 * 1_000_000_000 / max(1, rateBitsPerSecond)
    parameters.buffer = UInt32(min(nanoseconds >> 6, UInt64(UInt32.max)))
    parameters.cbuffer = parameters.buffer
    payload.attribute(Int(TCA_HTB_PARMS), structure: parameters)
    if let rate = wideBytesPerSecond(rateBitsPerSecond) {
      payload.attribute(Int(TCA_HTB_RATE64), rate)
      payload.attribute(Int(TCA_HTB_CEIL64), rate)
    }
  }

  static func rate(in attributes: NetlinkAttributes) -> UInt64? {
    guard let options = attributes.nested(Int(TCA_OPTIONS)) else { return nil }
    return bitsPerSecond(options, wide: Int(TCA_HTB_RATE64), parameters: Int(TCA_HTB_PARMS))
  }
}

/// Rates beyond 32 bits of bytes per second (34 Gb/s) travel in an attribute of their own.
private func wideBytesPerSecond(_ bitsPerSecond: UInt64) -> UInt64? {
  let bytes = bitsPerSecond / 8
  return bytes > UInt64(UInt32.max) ? bytes : nil
}

private func bitsPerSecond(_ options: NetlinkAttributes, wide: Int, parameters: Int) -> UInt64? {
  if let bytes = options.integer(wide, as: UInt64.self), bytes > 0 { return bytes * 8 }
  // The rate's bytes per second stand at the end of the first structure, struct tc_ratespec.
  return options[parameters]?.integer(at: 8, as: UInt32.self).map { UInt64($0) * 8 }
}

extension tc_ratespec {
  /// The link layer is named, which spares the kernel (and us) the rate tables of old.
  init(bitsPerSecond: UInt64) {
    self.init()
    linklayer = UInt8(TC_LINKLAYER_ETHERNET.rawValue)
    rate = UInt32(min(max(1, bitsPerSecond / 8), UInt64(UInt32.max)))
  }
}
