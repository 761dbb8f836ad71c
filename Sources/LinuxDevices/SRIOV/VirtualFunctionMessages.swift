import CLinux

/// A virtual function as its card's rtnetlink message describes it (IFLA_VF_INFO of linux/if_link.h).
public struct VirtualFunctionState: Sendable, Hashable {
  public var index: UInt32
  public var settings: VirtualFunctionSettings
  /// What the card counted, seen from the function. Many drivers leave these at zero: the function's own interface is the
  /// better witness. Nil: not asked for, or a kernel before 4.2.
  public var counters: LinkStatistics?

  public init(index: UInt32, settings: VirtualFunctionSettings, counters: LinkStatistics? = nil) {
    self.index = index
    self.settings = settings
    self.counters = counters
  }
}

extension VirtualFunctionState {
  /// All virtual functions in an RTM_NEWLINK message, by index; nil: the message is none, or holds no list of them.
  static func list(_ reply: NetlinkReply) -> (interface: Int32, functions: [VirtualFunctionState])? {
    let headerSize = MemoryLayout<ifinfomsg>.size
    guard reply.type == UInt16(RTM_NEWLINK), let index = reply.payload.integer(at: 4, as: Int32.self),
      reply.payload.count >= headerSize
    else { return nil }
    for (type, value) in NetlinkAttributes.Sequence(reply.payload.dropFirst(headerSize))
    where type == Int(IFLA_VFINFO_LIST) {
      var functions: [VirtualFunctionState] = []
      for (type, value) in NetlinkAttributes.Sequence(value) where type == Int(IFLA_VF_INFO) {
        if let function = VirtualFunctionState(value) { functions.append(function) }
      }
      return (index, functions.sorted { $0.index < $1.index })
    }
    return nil
  }

  /// Nil when no attribute says which function it is. One that is cut short reads as absent.
  private init?(_ bytes: ArraySlice<UInt8>) {
    var settings = VirtualFunctionSettings()
    var index: UInt32?
    var counters: LinkStatistics?
    var tagProtocol: VLANTag.TagProtocol?
    for (type, value) in NetlinkAttributes.Sequence(bytes) {
      switch type {
      case Int(IFLA_VF_STATS):
        counters = LinkStatistics(ofVirtualFunction: value)
        continue
      case Int(IFLA_VF_VLAN_LIST):
        let information = NetlinkAttributes.Sequence(value).first { $0.type == Int(IFLA_VF_VLAN_INFO) }?.value
        tagProtocol = information?.integer(at: 12, as: UInt16.self).flatMap {
          VLANTag.TagProtocol(rawValue: UInt16(bigEndian: $0))
        }
        continue
      default: break
      }
      settings.read(type, value)
      // Each structure begins with the function's number, and this one is in every kernel's message.
      if type == Int(IFLA_VF_MAC) { index = value.integer(at: 0) }
    }
    guard let index else { return nil }
    if let tagProtocol { settings.vlan = settings.vlan?.tagged(by: tagProtocol) }
    self.init(index: index, settings: settings, counters: counters)
  }
}

extension VirtualFunctionSettings {
  fileprivate mutating func read(_ type: Int, _ value: ArraySlice<UInt8>) {
    // The kernel fills in -1 for a flag of which the driver says nothing.
    func flag() -> Bool? { value.integer(at: 4, as: UInt32.self).flatMap { $0 == 0 ? false : $0 == 1 ? true : nil } }
    switch type {
    case Int(IFLA_VF_MAC): macAddress = MACAddress(octets: value.dropFirst(4).prefix(6))
    case Int(IFLA_VF_VLAN):
      guard let identifier: UInt32 = value.integer(at: 4), let priority: UInt32 = value.integer(at: 8) else { return }
      // A driver's number out of range is no statement.
      let tag = VLANTag(identifier: UInt16(clamping: identifier), priority: UInt8(clamping: priority))
      vlan = identifier == 0 && priority == 0 ? .off : tag.map { .tag($0) }
    case Int(IFLA_VF_RATE):
      guard let minimum: UInt32 = value.integer(at: 4), let maximum: UInt32 = value.integer(at: 8) else { return }
      minimumTransmitBitsPerSecond = UInt64(minimum) * 1_000_000
      maximumTransmitBitsPerSecond = UInt64(maximum) * 1_000_000
    case Int(IFLA_VF_SPOOFCHK): spoofCheck = flag()
    case Int(IFLA_VF_TRUST): trust = flag()
    case Int(IFLA_VF_RSS_QUERY_EN): rssQuery = flag()
    case Int(IFLA_VF_LINK_STATE): linkState = value.integer(at: 4).flatMap { LinkStatePolicy(rawValue: $0) }
    default: break
    }
  }
}

extension VLANSetting {
  fileprivate func tagged(by tagProtocol: VLANTag.TagProtocol) -> VLANSetting {
    guard case .tag(let tag) = self else { return self }
    return VLANTag(identifier: tag.identifier, priority: tag.priority, tagProtocol: tagProtocol).map { .tag($0) }
      ?? self
  }
}

extension LinkStatistics {
  fileprivate init(ofVirtualFunction bytes: ArraySlice<UInt8>) {
    self.init()
    for (type, value) in NetlinkAttributes.Sequence(bytes) {
      guard let number: UInt64 = value.integer(at: 0) else { continue }
      switch type {
      case Int(IFLA_VF_STATS_RX_PACKETS): receivedPackets = number
      case Int(IFLA_VF_STATS_TX_PACKETS): transmittedPackets = number
      case Int(IFLA_VF_STATS_RX_BYTES): receivedBytes = number
      case Int(IFLA_VF_STATS_TX_BYTES): transmittedBytes = number
      case Int(IFLA_VF_STATS_MULTICAST): multicastPackets = number
      case Int(IFLA_VF_STATS_RX_DROPPED): receiveDrops = number
      case Int(IFLA_VF_STATS_TX_DROPPED): transmitDrops = number
      default: break
      }
    }
  }
}

extension VirtualFunctionAttribute {
  /// A message that sets this alone, so that a refusal tells which setting the driver does not take.
  func request(function: UInt32, card: Int32) -> NetlinkRequest {
    NetlinkRequest(
      RTM_SETLINK, operation: "set \(kind) of virtual function \(function) of interface number \(card)"
    ) { payload in
      payload.append(ifinfomsg(index: card))
      payload.nested(Int(IFLA_VFINFO_LIST)) { list in
        list.nested(Int(IFLA_VF_INFO)) { write(to: &$0, function) }
      }
    }
  }

  private func write(to payload: inout NetlinkPayload, _ function: UInt32) {
    switch self {
    case .macAddress(let address):
      // MAX_ADDR_LEN octets, whatever the kind of address.
      payload.attribute(Int(IFLA_VF_MAC), bytes(function) + address.octets + [UInt8](repeating: 0, count: 26))
    case .vlan(.off):
      payload.attribute(Int(IFLA_VF_VLAN), structure: ifla_vf_vlan(vf: function, vlan: 0, qos: 0))
    case .vlan(.tag(let tag)) where tag.tagProtocol == .customer:
      payload.attribute(
        Int(IFLA_VF_VLAN),
        structure: ifla_vf_vlan(vf: function, vlan: UInt32(tag.identifier), qos: UInt32(tag.priority)))
    case .vlan(.tag(let tag)):
      payload.nested(Int(IFLA_VF_VLAN_LIST)) { list in
        list.attribute(
          Int(IFLA_VF_VLAN_INFO),
          structure: ifla_vf_vlan_info(
            vf: function, vlan: UInt32(tag.identifier), qos: UInt32(tag.priority),
            vlan_proto: tag.tagProtocol.rawValue.bigEndian))
      }
    case .rate(let rate):
      payload.attribute(
        Int(IFLA_VF_RATE),
        structure: ifla_vf_rate(vf: function, min_tx_rate: rate.minimumMegabits, max_tx_rate: rate.maximumMegabits))
    case .spoofCheck(let isOn): payload.attribute(Int(IFLA_VF_SPOOFCHK), bytes(function) + bytes(isOn ? 1 : 0))
    case .trust(let isOn): payload.attribute(Int(IFLA_VF_TRUST), bytes(function) + bytes(isOn ? 1 : 0))
    case .rssQuery(let isOn): payload.attribute(Int(IFLA_VF_RSS_QUERY_EN), bytes(function) + bytes(isOn ? 1 : 0))
    case .linkState(let policy): payload.attribute(Int(IFLA_VF_LINK_STATE), bytes(function) + bytes(policy.rawValue))
    }
  }

  private func bytes(_ value: UInt32) -> [UInt8] { withUnsafeBytes(of: value) { Array($0) } }
}
