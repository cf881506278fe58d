insert into `shop.example.org`.users values (1);
insert into shop.`example.org.users` values (2);
truncate table shop.`example.org.users`;
truncate table `shop.example.org`.users;
drop table shop.`example.org.users`;
drop database `shop.example.org`;
