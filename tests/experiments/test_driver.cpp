#include <boost/test/unit_test.hpp>
BOOST_AUTO_TEST_SUITE(driver)
BOOST_AUTO_TEST_SUITE_END()
