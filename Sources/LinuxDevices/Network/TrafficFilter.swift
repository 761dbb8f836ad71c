import CLinux
import Glibc

/// A u32 filter of the kinds that we make. Its preference is its identity below a parent: one filter each.
public struct TrafficFilter: Sendable, Hashable {
  public enum Match: Sendable, Hashable {
    case everything
    case source(MACAddress)
    case destination(MACAddress)
    /// Somebody else's.
    case other
  }

  public enum Action: Sendable, Hashable {
    /// Out through another interface, instead of up.
    case redirect(to: Int32)
    case classify(as: TrafficHandle)
    case other
  }

  public var preference: UInt16
  public var match: Match
  public var action: Action

  public init(preference: UInt16, match: Match, action: Action) {
    self.preference = preference
    self.match = match
    self.action = action
  }
}

extension RouteNetlink {
  public func filters(of interface: Int32, parent: TrafficHandle) throws(NetlinkError) -> [TrafficFilter] {
    let request = NetlinkRequest(RTM_GETTFILTER, operation: "list the filters of interface number \(interface)") {
      $0.append(tcmsg(interface: interface, parent: parent))
    }
    return try (socket.dumpIfPresent(request) ?? []).compactMap { reply in
      guard let (message, attributes) = reply.trafficControl(RTM_NEWTFILTER), message.tcm_ifindex == interface else {
        return nil
      }
      return TrafficFilter(preference: UInt16(message.tcm_info >> 16), attributes)
    }
  }

  public func add(_ filter: TrafficFilter, to interface: Int32, parent: TrafficHandle) throws(NetlinkError) {
    try socket.request(addRequest(filter, to: interface, parent: parent))
  }

  func addRequest(_ filter: TrafficFilter, to interface: Int32, parent: TrafficHandle) -> NetlinkRequest {
    NetlinkRequest(
      RTM_NEWTFILTER, flags: NLM_F_CREATE | NLM_F_EXCL,
      operation: "add filter \(filter.preference) to interface number \(interface)"
    ) {
      $0.append(tcmsg(interface: interface, parent: parent, information: filter.information))
      $0.attribute(Int(TCA_KIND), "u32")
      $0.nested(Int(TCA_OPTIONS)) { filter.write(to: &$0) }
    }
  }

  /// Deletes every filter of a preference; none is no error (EINVAL: there is not even a qdisc that could have one).
  public func deleteFilter(
    preference: UInt16, of interface: Int32, parent: TrafficHandle
  ) throws(NetlinkError) {
    let filter = TrafficFilter(preference: preference, match: .other, action: .other)
    let request = NetlinkRequest(
      RTM_DELTFILTER, operation: "delete filter \(preference) of interface number \(interface)"
    ) {
      $0.append(tcmsg(interface: interface, parent: parent, information: filter.information))
    }
    do { try socket.request(request) } catch  where error.isAbsence || error.errno == EINVAL {}
  }

  /// What comes in at either interface goes out at the other; nothing of it reaches this host.
  ///
  /// Both get an ingress qdisc, which must not be there yet.
  public func join(_ first: Int32, _ second: Int32) throws(NetlinkError) {
    let requests = [(first, second), (second, first)].flatMap { from, to in
      [
        ingressRequest(from),
        addRequest(
          TrafficFilter(preference: 1, match: .everything, action: .redirect(to: to)), to: from, parent: .ingressFilters
        ),
      ]
    }
    for result in try socket.batch(requests) { _ = try result.get() }
  }
}

extension TrafficFilter {
  /// Preference and protocol (ETH_P_ALL, in network byte order).
  var information: UInt32 { UInt32(preference) << 16 | UInt32(UInt16(0x0003).bigEndian) }

  func write(to payload: inout NetlinkPayload) {
    if case .classify(let handle) = action { payload.attribute(Int(TCA_U32_CLASSID), handle.value) }
    payload.attribute(Int(TCA_U32_SEL), Selector(match).bytes)
    if case .redirect(let target) = action {
      payload.nested(Int(TCA_U32_ACT)) { actions in
        actions.nested(1) { action in
          action.attribute(Int(TCA_ACT_KIND), "mirred")
          action.nested(Int(TCA_ACT_OPTIONS)) { options in
            var mirred = tc_mirred()
            mirred.action = TC_ACT_STOLEN
            mirred.eaction = TCA_EGRESS_REDIR
            mirred.ifindex = UInt32(target)
            options.attribute(Int(TCA_MIRRED_PARMS), structure: mirred)
          }
        }
      }
    }
  }

  /// Nil for the hash tables that stand in the same list.
  init?(preference: UInt16, _ attributes: NetlinkAttributes) {
    self.preference = preference
    guard attributes.string(Int(TCA_KIND)) == "u32" else {
      match = .other
      action = .other
      return
    }
    guard let options = attributes.nested(Int(TCA_OPTIONS)), let selector = options[Int(TCA_U32_SEL)] else {
      return nil
    }
    match = Selector(bytes: selector).match
    let mirred = options.nested(Int(TCA_U32_ACT))?.nested(1)
    if mirred?.string(Int(TCA_ACT_KIND)) == "mirred",
      // struct tc_mirred: five words of every action, what it does, the interface.
      let target = mirred?.nested(Int(TCA_ACT_OPTIONS))?[Int(TCA_MIRRED_PARMS)]?.integer(at: 24, as: Int32.self)
    {
      action = .redirect(to: target)
    } else if let handle = options.integer(Int(TCA_U32_CLASSID), as: UInt32.self) {
      action = .classify(as: TrafficHandle(handle))
    } else {
      action = .other
    }
  }

  /// `struct tc_u32_sel` and its keys. Offsets count from the network header, before which the Ethernet header stands:
  /// destination at -14, source at -8.
  private struct Selector {
    struct Key: Equatable {
      var mask: UInt32
      var value: UInt32
      var offset: Int32
    }

    var keys: [Key]

    init(_ match: Match) {
      switch match {
      case .everything, .other: keys = [Key(mask: 0, value: 0, offset: 0)]
      case .destination(let address): keys = Self.keys(address, offset: -14)
      case .source(let address): keys = Self.keys(address, offset: -8)
      }
    }

    init(bytes: ArraySlice<UInt8>) {
      keys = (0..<Int(bytes.integer(at: 2, as: UInt8.self) ?? 0)).compactMap { index in
        let start = 16 + index * 16
        guard let mask = bytes.integer(at: start, as: UInt32.self),
          let value = bytes.integer(at: start + 4, as: UInt32.self),
          let offset = bytes.integer(at: start + 8, as: Int32.self)
        else { return nil }
        return Key(mask: UInt32(bigEndian: mask), value: UInt32(bigEndian: value), offset: offset)
      }
    }

    var match: Match {
      if keys.count == 1, keys[0].mask == 0 { return .everything }
      guard keys.count == 2, keys[0].mask == .max, keys[1].mask == 0xffff_0000, keys[1].offset == keys[0].offset + 4
      else { return .other }
      let octets =
        [24, 16, 8, 0].map { UInt8(truncatingIfNeeded: keys[0].value >> $0) }
        + [24, 16].map { UInt8(truncatingIfNeeded: keys[1].value >> $0) }
      guard let address = MACAddress(octets: octets) else { return .other }
      switch keys[0].offset {
      case -14: return .destination(address)
      case -8: return .source(address)
      default: return .other
      }
    }

    var bytes: [UInt8] {
      // TC_U32_TERMINAL: a match decides. Number of keys in the third byte; the rest is for hashing.
      var bytes: [UInt8] = [1, 0, UInt8(keys.count)] + [UInt8](repeating: 0, count: 13)
      for key in keys {
        for word in [key.mask.bigEndian, key.value.bigEndian, UInt32(bitPattern: key.offset), 0] {
          withUnsafeBytes(of: word) { bytes.append(contentsOf: $0) }
        }
      }
      return bytes
    }

    private static func keys(_ address: MACAddress, offset: Int32) -> [Key] {
      let octets = address.octets.map(UInt32.init)
      let first = octets[0] << 24 | octets[1] << 16 | octets[2] << 8 | octets[3]
      let second = octets[4] << 24 | octets[5] << 16
      return [
        Key(mask: .max, value: first, offset: offset), Key(mask: 0xffff_0000, value: second, offset: offset + 4),
      ]
    }
  }
}
