"""Evidence: what T gave, as condensation sees it: samples, moments, or proxies made of them."""
