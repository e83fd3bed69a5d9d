package com.example.shop;

import java.util.Map;
import java.util.TreeMap;

/** What lies in the warehouse. */
public final class Inventory<T extends Item> implements Stock {
    private final Map<String, Integer> counts = new TreeMap<>();

    public Inventory() {
        counts.put("none", 0);
    }

    /** Takes goods out, if there are enough. */
    @Override
    public synchronized boolean reserve(String sku, int count) {
        Integer available = counts.getOrDefault(sku, 0);
        return available >= count && counts.put(sku, available - count) != null;
    }

    enum Shelf {
        TOP, BOTTOM;

        boolean isReachable() {
            return this == BOTTOM;
        }
    }
}

interface Stock {
    boolean reserve(String sku, int count);
}
