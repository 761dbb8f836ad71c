/// What the driver of a card does otherwise than the kernel's interfaces promise.
///
/// Only what cannot be found by trying and reading back: what a driver refuses, it refuses with an error. What nothing here
/// acts on is a note alone, for the operator.
public struct EthernetQuirks: Sendable, Hashable {
  /// Before functions are made the card's interface has to be up; else the driver reports success and makes none.
  public var needsInterfaceUp = false
  /// A promised rate is refused whatever its value.
  public var refusesMinimumRate = false
  /// Rates are refused while the card has no carrier: also for some seconds after its functions were made.
  public var rateNeedsCarrier = false
  /// Mbit/s; a limit below is refused, or raised to it.
  public var smallestLimitMegabits: UInt32 = 1
  /// Mbit/s; a limit is enforced rounded down to a multiple of it, and read back as it was set.
  public var limitStepMegabits: UInt32 = 1
  /// A limit that was taken and reads back is not kept by the card: `tc` on the function's own interface has to.
  public var ignoresRate = false
  public var ignoresSpoofCheck = false
  /// What the card counts for its functions is always zero: their own interfaces count.
  public var countsNothing = false
  /// Reasons and sources of all that is not as promised, in the table's order.
  public var notes: [Note] = []

  public struct Note: Sendable, Hashable {
    public var reason: String
    public var source: String
  }

  public init() {}
}

extension EthernetQuirks {
  /// Those of a card, by the driver of its physical function.
  public init(driver: String?, identifiers: PCIIdentifiers) {
    for entry in Self.table where entry.applies(driver, identifiers) {
      entry.change(&self)
      notes.append(Note(reason: entry.reason, source: entry.source))
    }
  }

  /// A limit as the card will keep it, in bits per second: never above what was asked. Nil: the card has no such limit, and
  /// somebody else has to keep it.
  public func enforceableLimit(bitsPerSecond: UInt64) -> UInt64? {
    let megabits = bitsPerSecond / 1_000_000
    let steps = megabits / UInt64(limitStepMegabits) * UInt64(limitStepMegabits)
    guard !ignoresRate, steps >= UInt64(smallestLimitMegabits) else { return nil }
    return steps * 1_000_000
  }

  fileprivate struct Entry: Sendable {
    var drivers: Set<String>
    var isEmulatedOnly = false
    var reason: String
    var source: String
    var change: @Sendable (inout EthernetQuirks) -> Void = { _ in }

    func applies(_ driver: String?, _ identifiers: PCIIdentifiers) -> Bool {
      guard let driver, drivers.contains(driver) else { return false }
      return !isEmulatedOnly || identifiers.isEmulated
    }
  }

  // "Measured" is on QEMU 10 with kernel 6.12; paths are of the kernel's sources.
  fileprivate static let table: [Entry] = [
    Entry(
      drivers: ["bnxt_en"], reason: "makes no functions, and says so to nobody, while its interface is down",
      source: "drivers/net/ethernet/broadcom/bnxt/bnxt_sriov.c, bnxt_sriov_configure"
    ) { $0.needsInterfaceUp = true },
    Entry(
      drivers: ["mlx5_core"], reason: "changes its switch mode when no driver is bound to its functions",
      source: "NVIDIA DOCA 2.10, OVS-Kernel Hardware Acceleration, \"make sure that all VFs are unbound\""),
    Entry(
      drivers: ["ice"], reason: "changes its switch mode while it has no functions (EOPNOTSUPP else)",
      source: "drivers/net/ethernet/intel/ice/ice_eswitch.c, ice_eswitch_mode_set"),
    Entry(
      drivers: ["ice"], reason: "promises rates only with a carrier, whose speed their sum must not exceed",
      source: "drivers/net/ethernet/intel/ice/ice_sriov.c, ice_min_tx_rate_oversubscribed"
    ) { $0.rateNeedsCarrier = true },
    Entry(
      drivers: ["igb"], reason: "promises no rates (EINVAL), and takes limits only with a carrier",
      source: "drivers/net/ethernet/intel/igb/igb_main.c, igb_ndo_set_vf_bw and igb_check_vf_rate_limit"
    ) {
      $0.refusesMinimumRate = true
      $0.rateNeedsCarrier = true
    },
    Entry(
      drivers: ["igb"], reason: "has no counters for its functions",
      source: "drivers/net/ethernet/intel/igb/igb_main.c, igb_netdev_ops without ndo_get_vf_stats; measured"
    ) { $0.countsNothing = true },
    Entry(
      drivers: ["igb"],
      reason: "igbvf reads a function's address when it is bound, and passes no traffic after a change by hand",
      source: "measured"),
    Entry(
      drivers: ["igb"], isEmulatedOnly: true, reason: "QEMU's card takes limits and spoof checks, and keeps neither",
      source: "measured"
    ) {
      $0.ignoresRate = true
      $0.ignoresSpoofCheck = true
    },
    Entry(
      drivers: ["ixgbe"], reason: "promises no rates, and takes limits above 10 Mbit/s on a link of 10 Gbit/s only",
      source: "drivers/net/ethernet/intel/ixgbe/ixgbe_sriov.c, ixgbe_ndo_set_vf_bw and ixgbe_check_vf_rate_limit"
    ) {
      $0.refusesMinimumRate = true
      $0.rateNeedsCarrier = true
      $0.smallestLimitMegabits = 11
    },
    Entry(
      drivers: ["i40e"],
      reason: "promises no rates, and counts limits in steps of 50 Mbit/s, of which it raises the smallest to one",
      source: "drivers/net/ethernet/intel/i40e, i40e_ndo_set_vf_bw and i40e_set_bw_limit"
    ) {
      $0.refusesMinimumRate = true
      $0.smallestLimitMegabits = 50
      $0.limitStepMegabits = 50
    },
  ]
}

extension PCIIdentifiers {
  /// The subsystem that QEMU gives to what models no particular board (docs/specs/pci-ids.rst of QEMU).
  public var isEmulated: Bool { subsystemVendor == 0x1af4 && subsystemDevice == 0x1100 }
}
