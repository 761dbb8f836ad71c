import CLinux

/// What a physical function does for, and to, one of its virtual functions. Nil in each: as something to set, leave it as
/// it is; as something read, the driver does not say.
public struct VirtualFunctionSettings: Sendable, Hashable {
  /// Zero: the card chooses none, and the function's driver makes one up.
  public var macAddress: MACAddress?
  public var vlan: VLANSetting?
  /// Bits per second that the function may send; zero: without limit. Cards count in Mbit/s: see `TransmitRate`.
  public var maximumTransmitBitsPerSecond: UInt64?
  /// Bits per second that the function can always send; zero: none are promised.
  public var minimumTransmitBitsPerSecond: UInt64?
  /// The card drops what the function sends with another address than its own.
  public var spoofCheck: Bool?
  /// The function may change its address, and see what is not addressed to it.
  public var trust: Bool?
  public var linkState: LinkStatePolicy?
  /// The function may read how its packets are spread over queues.
  public var rssQuery: Bool?

  public init() {}

  public init(_ body: (inout VirtualFunctionSettings) -> Void) { body(&self) }
}

/// Which VLAN the card puts a function into, unseen by it. Absent, off and VLAN 0 are three things: to write "off" where
/// nothing was asked for takes a trunk from its user.
public enum VLANSetting: Sendable, Hashable {
  /// The card neither adds nor takes away tags.
  case off
  case tag(VLANTag)
}

public struct VLANTag: Sendable, Hashable {
  public enum TagProtocol: UInt16, Sendable, Hashable {
    /// IEEE 802.1Q: a customer's tag.
    case customer = 0x8100
    /// IEEE 802.1ad: a provider's, outside a customer's.
    case provider = 0x88a8
  }

  /// 0 to 4094; 0 is no VLAN, with a priority all the same.
  public let identifier: UInt16
  /// 0 to 7.
  public let priority: UInt8
  public let tagProtocol: TagProtocol

  /// Nil when a number is out of range, and for VLAN 0 without a priority, which the kernel takes for "off".
  public init?(identifier: UInt16, priority: UInt8 = 0, tagProtocol: TagProtocol = .customer) {
    guard identifier <= 4094, priority <= 7, identifier > 0 || priority > 0 else { return nil }
    self.identifier = identifier
    self.priority = priority
    self.tagProtocol = tagProtocol
  }
}

/// Whether a function sees a carrier.
public enum LinkStatePolicy: UInt32, Sendable, Hashable {
  /// As the card's own link is.
  case automatic = 0
  /// Always: functions of the card reach each other even when its cable is out.
  case enabled = 1
  /// Never: the function neither sends nor receives.
  case disabled = 2
}

/// Rates as cards count them: whole Mbit/s, of which zero means none.
///
/// A limit is rounded down, so that nobody sends more than was asked; a promise is rounded up, so that nobody gets less,
/// but never above its limit. What is below 1 Mbit/s cannot be told to a card: rounded down it would be no limit at all.
public struct TransmitRate: Sendable, Hashable {
  /// Mbit/s; zero: nothing is promised.
  public var minimumMegabits: UInt32
  /// Mbit/s; zero: no limit.
  public var maximumMegabits: UInt32

  public init(minimumMegabits: UInt32, maximumMegabits: UInt32) {
    self.minimumMegabits = minimumMegabits
    self.maximumMegabits = maximumMegabits
  }

  /// - Throws: `InexpressibleRate`.
  public init(minimumBitsPerSecond: UInt64, maximumBitsPerSecond: UInt64) throws(InexpressibleRate) {
    let million: UInt64 = 1_000_000
    guard maximumBitsPerSecond == 0 || maximumBitsPerSecond >= million,
      let maximum = UInt32(exactly: maximumBitsPerSecond / million)
    else { throw InexpressibleRate(bitsPerSecond: maximumBitsPerSecond) }
    let roundedUp = minimumBitsPerSecond / million + (minimumBitsPerSecond % million > 0 ? 1 : 0)
    guard maximumBitsPerSecond == 0 || minimumBitsPerSecond <= maximumBitsPerSecond,
      let minimum = UInt32(exactly: roundedUp)
    else { throw InexpressibleRate(bitsPerSecond: minimumBitsPerSecond) }
    minimumMegabits = maximum == 0 ? minimum : min(minimum, maximum)
    maximumMegabits = maximum
  }
}

public struct InexpressibleRate: Error, Hashable, CustomStringConvertible {
  public var bitsPerSecond: UInt64

  public var description: String {
    "a card cannot be told a rate of \(bitsPerSecond) bit/s: it counts in whole Mbit/s from 1 to \(UInt32.max), and no "
      + "minimum is above its maximum"
  }
}

/// One setting with its value, as one message to the kernel carries it.
public enum VirtualFunctionAttribute: Sendable, Hashable {
  case macAddress(MACAddress)
  case vlan(VLANSetting)
  /// Both at once: the kernel knows no message for one of them that all drivers take.
  case rate(TransmitRate)
  case spoofCheck(Bool)
  case trust(Bool)
  case linkState(LinkStatePolicy)
  case rssQuery(Bool)

  public enum Kind: String, Sendable, Hashable, CaseIterable, Comparable {
    // In the order in which they are set: a function is shown a carrier when all else stands.
    case macAddress, vlan, rate, spoofCheck, trust, rssQuery, linkState

    public static func < (left: Self, right: Self) -> Bool {
      (allCases.firstIndex(of: left) ?? 0) < (allCases.firstIndex(of: right) ?? 0)
    }
  }

  public var kind: Kind {
    switch self {
    case .macAddress: .macAddress
    case .vlan: .vlan
    case .rate: .rate
    case .spoofCheck: .spoofCheck
    case .trust: .trust
    case .rssQuery: .rssQuery
    case .linkState: .linkState
    }
  }
}

extension VirtualFunctionSettings {
  /// Each setting that is not nil, in the order in which they are set.
  ///
  /// - Parameter found: what the function has, for the half of a rate that is not to be changed.
  /// - Throws: `InexpressibleRate`.
  public func attributes(over found: VirtualFunctionSettings) throws(InexpressibleRate) -> [VirtualFunctionAttribute] {
    var attributes: [VirtualFunctionAttribute?] = [macAddress.map { .macAddress($0) }, vlan.map { .vlan($0) }]
    if minimumTransmitBitsPerSecond != nil || maximumTransmitBitsPerSecond != nil {
      let minimum = minimumTransmitBitsPerSecond ?? found.minimumTransmitBitsPerSecond ?? 0
      let maximum = maximumTransmitBitsPerSecond ?? found.maximumTransmitBitsPerSecond ?? 0
      attributes.append(.rate(try TransmitRate(minimumBitsPerSecond: minimum, maximumBitsPerSecond: maximum)))
    }
    attributes += [
      spoofCheck.map { .spoofCheck($0) }, trust.map { .trust($0) }, rssQuery.map { .rssQuery($0) },
      linkState.map { .linkState($0) },
    ]
    return attributes.compactMap { $0 }
  }

  /// The same setting as it was read; nil: the driver does not say.
  public subscript(kind: VirtualFunctionAttribute.Kind) -> VirtualFunctionAttribute? {
    switch kind {
    case .macAddress: return macAddress.map { .macAddress($0) }
    case .vlan: return vlan.map { .vlan($0) }
    case .rate:
      guard let minimumTransmitBitsPerSecond, let maximumTransmitBitsPerSecond else { return nil }
      return .rate(
        TransmitRate(
          minimumMegabits: UInt32(clamping: minimumTransmitBitsPerSecond / 1_000_000),
          maximumMegabits: UInt32(clamping: maximumTransmitBitsPerSecond / 1_000_000)))
    case .spoofCheck: return spoofCheck.map { .spoofCheck($0) }
    case .trust: return trust.map { .trust($0) }
    case .rssQuery: return rssQuery.map { .rssQuery($0) }
    case .linkState: return linkState.map { .linkState($0) }
    }
  }
}
